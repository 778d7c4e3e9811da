"""The language model: the decoder and its head, `generate` with the original's stop words, `chat` and `chat_stream`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import Cache, GenerationConfig, GenerationMixin, StoppingCriteria, StoppingCriteriaList
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from qwen7b.config.checked import is_zero
from qwen7b.errors import SettingError
from qwen7b.hf.cache_name import CACHE_NAME, choose_cache
from qwen7b.hf.chat_mixin import ChatMixin
from qwen7b.hf.configuration import QWenConfig
from qwen7b.hf.decoder import QWenModel, QWenPreTrainedModel
from qwen7b.hf.stop_words import StopWords, listed_ids, read_endings
from qwen7b.hf.tokenizer_python import QWenTokenizer


class QWenLMHeadModel(ChatMixin, QWenPreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """First-generation Qwen with a language-model head."""

    _tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"}

    def __init__(self, config: QWenConfig) -> None:
        super().__init__(config)
        self.transformer = QWenModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.loss_type = "ForCausalLM"  # Transformers would guess it from the class's name
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as Transformers does, and read from the checkpoint's files which ids end a reply."""
        hub = {name: kwargs[name] for name in ("cache_dir", "revision") if kwargs.get(name) is not None}
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.ending_ids = read_endings(model.name_or_path, **hub)
        return loaded

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        cache: Cache | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        outputs = self.transformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        named_cache: dict[str, Any] = {CACHE_NAME: getattr(outputs, CACHE_NAME)}
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **named_cache,
        )

    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Any = None,
        stopping_criteria: Iterable[StoppingCriteria] | None = None,
        *,
        stop_words_ids: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate as Transformers does; a reply also ends after any of the sequences of ids in `stop_words_ids`.

        It also ends at the ids that the checkpoint's tokenizer names, such as <|im_end|>, which no other file of a
        chat model names; the keyword `eos_token_id` replaces all of these. Temperature 0 means greedy. Dynamic NTK's
        alpha is chosen for the prompt's length and stays, as in the original.
        """
        settings = generation_config or self.generation_config
        changes: dict[str, Any] = {}
        if self.ending_ids and "eos_token_id" not in kwargs:
            changes["eos_token_id"] = sorted(self.ending_ids.union(listed_ids(settings.eos_token_id)))
        if is_zero(kwargs.get("temperature", settings.temperature)):
            changes |= {"do_sample": False, "temperature": 1.0}  # Transformers refuses 0
        if generation_config is None:
            kwargs |= changes
        else:
            generation_config = copy.deepcopy(generation_config)
            kwargs = {name: value for name, value in kwargs.items() if name not in changes}
            generation_config.update(**changes)  # type: ignore[no-untyped-call]
        if self.config.use_dynamic_ntk and (kwargs.get("prefill_chunk_size") or settings.prefill_chunk_size):
            raise SettingError(
                "prefill_chunk_size and dynamic NTK exclude each other: the first chunk would choose the prompt's "
                "alpha; leave it out, or set use_dynamic_ntk=False"
            )
        if stop_words_ids is None:
            stop_words_ids = getattr(settings, "stop_words_ids", None)
        if kwargs.get("stop_strings") and isinstance(kwargs.get("tokenizer"), QWenTokenizer):
            raise SettingError(
                "stop_strings need the fast tokenizer: use QWenTokenizerFast, or stop_words_ids with ids"
            )
        chosen_cache = choose_cache(kwargs.pop("past_key_values", None), kwargs.pop("cache", None), others=kwargs)
        if chosen_cache is not None:
            kwargs[CACHE_NAME] = chosen_cache
        criteria = StoppingCriteriaList(stopping_criteria or ())
        if stop_words_ids:
            prompt = inputs if inputs is not None else kwargs.get("input_ids")
            criteria.append(StopWords(stop_words_ids, prompt_length=0 if prompt is None else prompt.shape[-1]))
        return super().generate(inputs, generation_config, logits_processor, criteria, **kwargs)
