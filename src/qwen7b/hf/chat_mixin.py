"""`chat` and `chat_stream`, with the original's signatures and behaviour."""

from __future__ import annotations

import copy
from collections.abc import Collection, Generator, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList

from qwen7b.errors import PromptError, SettingError, quoted
from qwen7b.hf.chat_tokenizer import ChatTokenizer
from qwen7b.hf.stop_words import OnlyTokens, listed_ids
from qwen7b.hf.streaming import stream_tokens
from qwen7b.text import DEFAULT_HISTORY_TOKEN_LIMIT, Detokenizer, Message, chat_prompt

History = Sequence[Sequence[str]]
"""Pairs of a query and its response, oldest first."""


class ChatMixin:
    """Gives a model that has `generate` the original's methods `chat` and `chat_stream`."""

    device: torch.device
    generation_config: GenerationConfig
    name_or_path: Any
    ending_ids: frozenset[int] = frozenset()
    """The ids that end a reply according to the checkpoint's files; generation configs may name more."""

    def chat(
        self,
        tokenizer: ChatTokenizer,
        query: str,
        history: History | None = None,
        system: str | None = None,
        append_history: bool = True,
        stream: bool = False,
        stop_words_ids: Sequence[Sequence[int]] | None = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> tuple[str, list[tuple[str, str]]]:
        """Return the response to `query`, and a new history that ends with both, unless `append_history` is false.

        `system` is the system message, by default the model's own. Once the history has `max_window_size` tokens (from
        `kwargs`, else from the generation config), its oldest turns are dropped whole. A response ends at a control
        token of ChatML, at <|endoftext|>, or after one of `stop_words_ids`, which is then part of its text. Other
        `kwargs` are those of `generate`. Raises PromptError for a base model, which was not trained to chat.

        >>> response, history = model.chat(tokenizer, "你好", history=None)  # doctest: +SKIP
        """
        if stream:
            raise SettingError("chat does not stream: call chat_stream(tokenizer, query, history) instead")
        call, prompt, ends = self._prepare(tokenizer, query, history, system, stop_words_ids, generation_config, kwargs)
        generated = call()[0, len(prompt) :].tolist()
        reply = takewhile(lambda token_id: token_id not in ends, generated)
        response = tokenizer.plain_tokenizer.decode(reply, skip_control=True).strip()
        turns = [(earlier_query, earlier_response) for earlier_query, earlier_response in history or ()]
        return response, [*turns, (query, response)] if append_history else turns

    def chat_stream(
        self,
        tokenizer: ChatTokenizer,
        query: str,
        history: History | None = None,
        system: str | None = None,
        stop_words_ids: Sequence[Sequence[int]] | None = None,
        logits_processor: LogitsProcessorList | None = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Generator[str, None, None]:
        """Yield the response to `query` as it grows, each time from its beginning; the arguments are those of `chat`.

        >>> for response in model.chat_stream(tokenizer, "你好", history=None): print(response)  # doctest: +SKIP
        """
        kwargs["logits_processor"] = logits_processor
        call, _, ends = self._prepare(tokenizer, query, history, system, stop_words_ids, generation_config, kwargs)
        return _growing_text(stream_tokens(call), tokenizer, ends=ends)

    def _prepare(
        self,
        tokenizer: ChatTokenizer,
        query: str,
        history: History | None,
        system: str | None,
        stop_words_ids: Sequence[Sequence[int]] | None,
        generation_config: GenerationConfig | None,
        kwargs: dict[str, Any],
    ) -> tuple[partial[Any], list[int], frozenset[int]]:
        """Return `generate` with all its arguments, the prompt's ids, and the ids that end a reply."""
        if not isinstance(tokenizer, ChatTokenizer):
            raise SettingError(
                f"chat needs a QWenTokenizer or QWenTokenizerFast, found {type(tokenizer).__name__}: load it by "
                "AutoTokenizer.from_pretrained after import qwen7b.hf"
            )
        if generation_config is not None and not isinstance(generation_config, GenerationConfig):
            raise SettingError(f"generation_config must be a GenerationConfig, found {quoted(generation_config)}")
        config = copy.deepcopy(generation_config or self.generation_config)
        if (chat_format := getattr(config, "chat_format", "chatml")) != "chatml":
            raise PromptError(
                f"{self.name_or_path or 'this model'} is a base model, not trained to chat: use generate, or load its "
                f"chat version; chat_format {quoted(chat_format)} in its generation_config.json says so: change that "
                "if it does chat"
            )
        plain = tokenizer.plain_tokenizer
        window = kwargs.pop("max_window_size", getattr(config, "max_window_size", None))
        if window is None:
            window = DEFAULT_HISTORY_TOKEN_LIMIT
        if type(window) is not int:
            raise SettingError(f"max_window_size must be a number of tokens, found {quoted(window)}")
        prompt = chat_prompt(plain, _messages(query, history, system), history_token_limit=window)
        processors = LogitsProcessorList(kwargs.pop("logits_processor", None) or ())
        processors.append(OnlyTokens(plain.vocab_size))
        # Transformers takes settings either in a configuration or as keywords, not both: put all in one configuration.
        others = config.update(**kwargs)  # type: ignore[no-untyped-call]
        ends = plain.stop_ids.union(self.ending_ids, listed_ids(config.eos_token_id))
        config.eos_token_id = sorted(ends)
        if config.pad_token_id is None:
            config.pad_token_id = plain.end_of_text_id
        config.return_dict_in_generate = False
        input_ids = torch.tensor([prompt], device=self.device)
        call = partial(
            self.generate,  # type: ignore[attr-defined]
            input_ids,
            generation_config=config,
            attention_mask=torch.ones_like(input_ids),
            stop_words_ids=stop_words_ids,
            logits_processor=processors,
            **others,
        )
        return call, prompt, ends


def _messages(query: str, history: History | None, system: str | None) -> list[Message]:
    turns = () if history is None else history
    if not isinstance(turns, (list, tuple)) or any(
        not isinstance(turn, (list, tuple)) or len(turn) != 2 for turn in turns
    ):
        raise PromptError(
            f"history must be pairs of a query and its response, found {quoted(history)}: pass what an earlier chat "
            "returned, or use tokenizer.apply_chat_template for messages with roles"
        )
    messages = [] if system is None else [{"role": "system", "content": system}]
    for earlier_query, earlier_response in turns:
        messages += [{"role": "user", "content": earlier_query}, {"role": "assistant", "content": earlier_response}]
    return [*messages, {"role": "user", "content": query}]


def _growing_text(
    generated: Generator[int, None, None], tokenizer: ChatTokenizer, *, ends: Collection[int]
) -> Generator[str, None, None]:
    detokenizer, text = Detokenizer(tokenizer.plain_tokenizer), ""
    try:
        for token_id in generated:
            if token_id in ends:
                break
            if piece := detokenizer.push(token_id):
                text += piece
                yield text
        if (rest := detokenizer.flush()) or not text:
            yield text + rest
    finally:
        generated.close()
