"""lm-eval on our engine: importing this module gives lm-eval the model "qwen7b", for any of its tasks.

In come requests of lm-eval's tasks, out go log-probabilities and texts, as its own class for Transformers gives them.
The differences: the engine shares what requests have in common and forms batches by itself, and it may run packed
weights; and a checkpoint's own repetition penalty does not act on what is chosen greedily.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from qwen7b.config.checked import flag, whole_number
from qwen7b.errors import MissingExtraError, PromptError, SettingError, counted, quoted
from qwen7b.evals.generation_requests import alike_requests, generation_settings
from qwen7b.evals.signature import weights_digest
from qwen7b.generate import Qwen, load
from qwen7b.generate.scoring import ScoredSequence
from qwen7b.text.chat_prompt import chat_format_of, template_of
from qwen7b.text.messages import Message

try:
    from lm_eval.api.instance import Instance  # type: ignore[import-untyped]
    from lm_eval.api.model import TemplateLM  # type: ignore[import-untyped]
    from lm_eval.api.registry import register_model  # type: ignore[import-untyped]
    from lm_eval.models.utils import normalize_gen_kwargs  # type: ignore[import-untyped]
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingExtraError("lm-eval", extra="lm-eval") from error
from tqdm import tqdm

_LOADING = ("quantize", "dtype", "context_length", "long_context", "chat", "offline", "speculate")
"""The settings of `qwen7b.load` that model_args may have."""
_USUAL_DEVICE = "cuda:0"
"""What lm-eval's command line passes where the user names no device."""
_USUAL_BATCH_SIZES = (None, 1, "1", "auto")

_log = logging.getLogger(__name__)


@register_model("qwen7b")
class HarnessModel(TemplateLM):  # type: ignore[misc]  # lm-eval has no types
    """A model as lm-eval's tasks see it.

    `pretrained` is a name as `qwen7b.load` takes it, or a `Qwen` that is loaded. Names of control tokens in a text
    are control tokens unless `control_tokens` is False, as lm-eval writes chats as texts. `prefix_token_id` stands
    before a text that has nothing before it: by default the BOS that the files name, else the token that ends a text.
    """

    def __init__(
        self,
        pretrained: str | Qwen = "demo",
        *,
        max_gen_toks: int = 256,
        prefix_token_id: int | None = None,
        control_tokens: bool = True,
        device: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        trust_remote_code: bool = False,
        **loading: Any,
    ) -> None:
        super().__init__()
        if unknown := [name for name in loading if name not in _LOADING]:
            raise SettingError(
                f"model_args has no {unknown[0]}: it takes pretrained, {', '.join(_LOADING)}, max_gen_toks, "
                "prefix_token_id and control_tokens"
            )
        if batch_size not in _USUAL_BATCH_SIZES or max_batch_size is not None:
            _log.warning("batch_size is left to the engine, which forms its batches by itself")
        if trust_remote_code:  # which lm-eval passes on from its option of that name, where it is for data sets
            _log.warning("trust_remote_code is not for the model: no code in a checkpoint is ever run")
        self.max_gen_toks = whole_number("max_gen_toks", max_gen_toks, minimum=1)
        self._allowed_special: Any = "all" if flag("control_tokens", control_tokens) else frozenset()
        if isinstance(pretrained, Qwen):
            if loading:
                raise SettingError(
                    f"{next(iter(loading))} is for loading a model, but this one is loaded: leave it out"
                )
            self.qwen = pretrained
        else:
            # lm-eval reads the word "none" as nothing.
            named: dict[str, Any] = {name: "none" if value is None else value for name, value in loading.items()}
            named["device"] = "auto" if device in (None, _USUAL_DEVICE) else device
            self.qwen = load(str(pretrained), **named)
        self._device = self.qwen.model.device
        self._prefix_token_id = prefix_token_id
        if prefix_token_id is not None:
            whole_number("prefix_token_id", prefix_token_id, minimum=0, maximum=self.qwen.tokenizer.vocab_size - 1)

    @property
    def max_length(self) -> int:
        return self.qwen.context_length

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text: the one that the tokenizer's files name so, else <|endoftext|>."""
        for id in (self._named("eos_token"), self.qwen.tokenizer.end_of_text_id, *sorted(self.qwen.stop_ids)):
            if id is not None:
                return id
        raise PromptError("this model has no token that ends a text: give model_args a prefix_token_id")

    @property
    def prefix_token_id(self) -> int:
        if self._prefix_token_id is not None:
            return self._prefix_token_id
        return self.eot_token_id if (bos_id := self._named("bos_token")) is None else bos_id

    def _named(self, variable: str) -> int | None:
        """The id of a token that the tokenizer's files name."""
        vocabulary = self.qwen.tokenizer.vocabulary
        name = vocabulary.settings.special_tokens.get(variable)
        return None if name is None else vocabulary.id_of(name)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """The ids of a text, after BOS where the model wants one, unless `add_special_tokens` is False."""
        ids = self.qwen.tokenizer.encode(string, allowed_special=self._allowed_special)
        return ids if add_special_tokens is False else self.qwen.tokenizer.after_bos(ids)

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str] | None, list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        sequences = [self._sequence(context, continuation) for _, context, continuation in requests]
        results: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        with (
            tqdm(total=len(requests), desc="Scoring continuations", disable=disable_tqdm) as bar,
            closing(self.qwen.scoring(sequences).stream()) as scores,
        ):
            for index, score in scores:
                results[index] = (score.logprob, score.is_greedy)
                if (request := requests[index][0]) is not None:
                    self.cache_hook.add_partial("loglikelihood", request, results[index])
                bar.update()
        return results

    def _sequence(self, context: Sequence[int], continuation: Sequence[int]) -> ScoredSequence:
        """The two as one sequence, whose beginning is cut off where it is too long; its last id is never read."""
        if not continuation:
            raise PromptError("a continuation has no tokens, so that its probability says nothing: mend the task")
        if len(continuation) > self.max_length:
            raise PromptError(
                f"a continuation has {counted(len(continuation), 'token')}, more than the {self.max_length} of the "
                "model's context: load the model with a larger context_length"
            )
        ids = [*context, *continuation][-(self.max_length + 1) :]
        if len(ids) < len(context) + len(continuation):
            _log.warning("the beginning of a context is cut off, as the context of the model is %s", self.max_length)
        return ScoredSequence(array("i", ids), len(ids) - len(continuation))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of each text, by windows where it is longer than the context."""
        windows: list[tuple[None, list[int], list[int]]] = []
        owners: list[int] = []
        for index, request in enumerate(requests):
            rolling = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for context, continuation in map(make_disjoint_window, rolling):
                windows.append((None, context, continuation))
                owners.append(index)
        totals = [0.0] * len(requests)
        scores = self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm)
        for index, (logprob, _) in zip(owners, scores, strict=True):
            totals[index] += logprob
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The text that follows each context, up to any of its task's stop strings; greedy unless the task samples."""
        texts = [""] * len(requests)
        with tqdm(total=len(requests), desc="Generating", disable=disable_tqdm) as bar:
            for kwargs, groups in alike_requests([request.args for request in requests]):
                contexts = [requests[indices[0]].args[0] for indices in groups]
                for place, text in self._generate(contexts, kwargs, n=len(groups[0])):
                    index = groups[place // len(groups[0])][place % len(groups[0])]
                    texts[index] = text
                    self.cache_hook.add_partial("generate_until", requests[index].args, text)
                    bar.update()
        return texts

    def _generate(self, contexts: Sequence[str], kwargs: Mapping[str, Any], *, n: int) -> Iterator[tuple[int, str]]:
        """Yield n texts for each context, each with its place among all, as they are done."""
        settings = generation_settings(normalize_gen_kwargs(dict(kwargs), self.max_gen_toks))
        room = self.max_length - settings["max_new_tokens"]
        if room < 1:
            raise SettingError(
                f"max_gen_toks must be less than the model's context of {self.max_length} tokens, found "
                f"{settings['max_new_tokens']}"
            )
        prompts = [self.tok_encode(context) or [self.prefix_token_id] for context in contexts]
        if any(len(prompt) > room for prompt in prompts):
            _log.warning("the beginning of some contexts is cut off, to leave room for a reply")
        answers = self.qwen.answers("complete", [prompt[-room:] for prompt in prompts], settings, n=n)
        for place, reply in answers.stream_whole():
            yield place, reply.text

    @property
    def tokenizer_name(self) -> str:
        """What tells kept requests of chats apart."""
        return self.qwen.name.replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The model's template for chats, in Jinja; None where lm-eval asks for none."""
        if isinstance(chat_template, str):
            raise SettingError(
                f"apply_chat_template takes no name, as this model has one template, found {quoted(chat_template)}"
            )
        return template_of(self.qwen.tokenizer) if chat_template else None

    def apply_chat_template(self, chat_history: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """A chat as the text that asks for its next message, or that goes on with its last one."""
        rendered = chat_format_of(self.qwen.tokenizer).render(
            self.qwen.tokenizer,
            chat_history,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return self.qwen.tokenizer.decode(rendered.ids)

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes beside its results."""
        model = self.qwen.model
        return {"model_precision": model.precision, "model_weights": weights_digest(model)}
