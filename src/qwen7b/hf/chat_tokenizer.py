"""What both tokenizers share: the original's names for control tokens, and ChatML assembled as token ids."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any

import tokenizers
from transformers import BatchEncoding

from qwen7b.errors import CheckpointError, PromptError, SettingError, UnsupportedError, quoted
from qwen7b.hf.control_names import ControlNamesMixin, check_roles
from qwen7b.text import Tokenizer, Vocabulary
from qwen7b.text.chat_prompt import chat_format_of
from qwen7b.text.export import merges_of, tokenizer_json
from qwen7b.text.format_detection import with_chat_template
from qwen7b.text.messages import checked_messages
from qwen7b.text.rendered import Rendered
from qwen7b.text.tokenizer import is_hidden
from qwen7b.text.tokenizer_files import named_extra_vocabulary

_END_OF_TEXT = "<|endoftext|>"

# Fields of tokenizer_config.json that the vocabulary itself determines, or that name code in the checkpoint.
_DROPPED = ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "auto_map")


class ChatTokenizer(ControlNamesMixin):
    """A Transformers tokenizer that also has our exact tokenizer, as `plain_tokenizer`."""

    vocab_files_names = {"vocab_file": "qwen.tiktoken", "tokenizer_file": "tokenizer.json"}
    model_input_names = ["input_ids", "attention_mask"]
    _own_tokenizer: Tokenizer
    """The exact tokenizer as the files describe it."""
    _template: str | dict[str, str] | None = None

    @cached_property
    def plain_tokenizer(self) -> Tokenizer:
        """The exact tokenizer, with the chat template that was set on this object, or else the files' own."""
        own, template = self._own_tokenizer, _default_of(self._template)
        settings = own.vocabulary.settings
        if template is None or template == settings.chat_template:
            return own
        settings = replace(settings, chat_template=template, chat_template_source="chat_template")
        return Tokenizer(replace(own.vocabulary, settings=settings))

    @property
    def chat_template(self) -> str | dict[str, str] | None:
        """The Jinja template of conversations, or several by name; None for the checkpoint's own ChatML."""
        return self._template

    @chat_template.setter
    def chat_template(self, template: str | dict[str, str] | None) -> None:
        if template is not None and not isinstance(template, (str, dict)):
            named = isinstance(template, (list, tuple)) and all(isinstance(one, Mapping) for one in template)
            if not named:
                raise SettingError(f"chat_template must be a Jinja template as a string, found {quoted(template)}")
            template = {one["name"]: one["template"] for one in template}
        self._template = template
        self.__dict__.pop("plain_tokenizer", None)

    @property
    def special_tokens(self) -> dict[str, int]:
        """Names and ids of the control tokens."""
        return dict(self.plain_tokenizer.control_tokens)

    @property
    def eod_id(self) -> int | None:
        """The id of <|endoftext|>, under the original's name for it."""
        return self.plain_tokenizer.end_of_text_id

    @property
    def im_start_id(self) -> int | None:
        return self.plain_tokenizer.im_start_id

    @property
    def im_end_id(self) -> int | None:
        return self.plain_tokenizer.im_end_id

    @cached_property
    def _hidden_ids(self) -> frozenset[int]:
        """The ids of control tokens that are not part of a text."""
        names = [name for name in self._control_names if is_hidden(name, self._visible_names)]
        return frozenset(self.convert_tokens_to_ids(names))  # type: ignore[attr-defined]

    def _shown(self, ids: Iterable[int], skip_special_tokens: bool) -> list[int]:
        """Check ids; with `skip_special_tokens` leave out hidden control tokens, padding and unused rows."""
        try:
            ids = [index(token_id) for token_id in ids]  # which refuses fractions and strings
        except (TypeError, ValueError):
            raise SettingError(f"decode takes token ids, found {quoted(ids)}") from None
        if not skip_special_tokens:
            return ids
        hidden, rows = self._hidden_ids.union(self.all_special_ids), len(self)  # type: ignore[attr-defined, arg-type]
        return [token_id for token_id in ids if 0 <= token_id < rows and token_id not in hidden]

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        tools: object = None,
        documents: object = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The prompt of a conversation, or of a list of them, with the arguments and results of Transformers.

        The format is the checkpoint's own, ChatML unless its files or `chat_template` say otherwise. It is assembled
        as token ids, so that no message can contain a control token, whatever its text. With `tokenize=False` the
        result is a text; encoding it again needs `split_special_tokens=False`. With `return_assistant_tokens_mask` the
        result has `assistant_masks`, 1 for each token that the assistant writes: those between a template's
        {% generation %} tags or, where it has none, each reply and the control token that ends it. Raises PromptError
        for anything that is not a conversation.
        """
        _refuse_unknown(tools=tools, documents=documents, **kwargs)
        if continue_final_message and add_generation_prompt:
            raise SettingError("continue_final_message and add_generation_prompt exclude each other: give one of them")
        if return_assistant_tokens_mask and (continue_final_message or not (tokenize and return_dict)):
            raise SettingError(
                "return_assistant_tokens_mask goes with tokenize and return_dict and without continue_final_message: "
                "change these or leave it out"
            )
        if max_length is not None and (type(max_length) is not int or max_length < 1):
            raise SettingError(f"max_length must be a number of tokens, at least 1, found {quoted(max_length)}")
        plain = self.plain_tokenizer
        settings = plain.vocabulary.settings
        text, source = chat_template, "chat_template"
        if text is not None and isinstance(self._template, dict):
            text = self._template.get(text, text)
        elif text is None and return_assistant_tokens_mask:
            text, source = settings.chat_template, settings.chat_template_source
        if text is None:
            format = chat_format_of(plain)
        else:
            format = with_chat_template(
                plain.vocabulary, text, source=source, keeps_generation_tags=return_assistant_tokens_mask
            )
        conversations, batched = _listed(conversation)
        rendered = [
            format.render(
                plain,
                messages,
                add_generation_prompt=bool(add_generation_prompt),
                continue_final_message=bool(continue_final_message),
            )
            for messages in conversations
        ]
        rows = [row.ids for row in rendered]
        if not tokenize:
            texts = [plain.decode(row) for row in rows]
            return texts if batched else texts[0]
        masks = [_assistant_mask(row) for row in rendered] if return_assistant_tokens_mask else []
        if truncation:
            limit = max_length or self.model_max_length  # type: ignore[attr-defined]
            left = self.truncation_side == "left"  # type: ignore[attr-defined]
            rows, masks = ([row[-limit:] if left else row[:limit] for row in of_each] for of_each in (rows, masks))
        padded = self.pad(  # type: ignore[attr-defined]
            {"input_ids": rows}, padding=padding, max_length=max_length, return_attention_mask=True
        )
        if masks:
            padding_lengths = [len(row) - len(mask) for row, mask in zip(padded["input_ids"], masks, strict=True)]
            left = self.padding_side == "left"  # type: ignore[attr-defined]
            padded["assistant_masks"] = [
                [0] * length + mask if left else mask + [0] * length
                for length, mask in zip(padding_lengths, masks, strict=True)
            ]
        encoding = BatchEncoding(padded, tensor_type=return_tensors)
        if not batched and return_tensors is None:
            encoding = BatchEncoding({name: values[0] for name, values in encoding.items()})
        return encoding if return_dict else encoding["input_ids"]


def _assistant_mask(rendered: Rendered) -> list[int]:
    """1 for each token that the assistant writes, 0 for the others. Raises UnsupportedError where none can tell."""
    if rendered.generated is None:
        raise UnsupportedError(
            "the chat template changes the assistant's messages, so that their tokens cannot be told: put "
            "{% generation %} and {% endgeneration %} around them in the template"
        )
    mask = [0] * len(rendered.ids)
    for span in rendered.generated:
        mask[span] = [1] * (span.stop - span.start)
    return mask


def find_vocabulary(path: str | None, extra_vocab_file: str | None) -> tuple[Path, Path | None]:
    """The path of the vocabulary and that of the extra tokens, which is looked for beside the vocabulary first."""
    if path is None:
        names = " or ".join(ChatTokenizer.vocab_files_names.values())
        raise CheckpointError(f"there is no tokenizer: the folder should hold {names}")
    if extra_vocab_file is None:
        return Path(path), None
    folder = Path(path).parent
    beside = folder / Path(extra_vocab_file).name
    is_named_by_folder = named_extra_vocabulary(folder) == beside  # which may not name files elsewhere
    return Path(path), beside if beside.exists() or is_named_by_folder else Path(extra_vocab_file)


def complete_settings(settings: Mapping[str, Any], *, control_names: Collection[str]) -> dict[str, Any]:
    """Keywords for Transformers' constructor: the defaults of both tokenizers, overridden by files and user."""
    complete: dict[str, Any] = {"padding_side": "left"}
    if _END_OF_TEXT in control_names:
        complete |= {"eos_token": _END_OF_TEXT, "pad_token": _END_OF_TEXT}
    complete |= {name: value for name, value in settings.items() if name not in _DROPPED and value is not None}
    check_roles(complete, control_names)
    return complete


def _listed(conversation: Any) -> tuple[list[list[dict[str, str]]], bool]:
    """The messages of each conversation, and whether the argument was a list of conversations."""
    conversation = getattr(conversation, "messages", conversation)
    if not isinstance(conversation, Sequence) or isinstance(conversation, (str, bytes)):
        raise PromptError(f"a conversation should be a list of messages, found {quoted(conversation)}")
    batched = len(conversation) > 0 and not isinstance(conversation[0], Mapping)
    rows: list[Any] = [getattr(row, "messages", row) for row in conversation] if batched else [conversation]
    if any(isinstance(row, Sequence) and len(row) == 0 for row in rows):
        raise SettingError("the conversation is empty: give at least one message")
    return [checked_messages(row) for row in rows], batched


def _refuse_unknown(**settings: Any) -> None:
    """Raise SettingError for an argument that would have no effect here."""
    unread = ("add_special_tokens", "sanitize_control_tokens")  # ChatML adds none, and content is always sanitized
    without_effect = ("tools", "documents", "tokenizer_kwargs")
    for name, value in settings.items():
        if value is None or name in unread or (name in without_effect and not value):
            continue
        raise SettingError(f"{name} is not supported: a message has only a role and a text, so leave it out")


def _default_of(template: str | dict[str, str] | None) -> str | None:
    """The template or, where there are several by name, the one called "default"."""
    if not isinstance(template, dict):
        return template
    if "default" not in template:
        raise SettingError(
            f"one of several chat templates must be called 'default', found only {quoted(list(template))}"
        )
    return template["default"]


def build_backend(vocabulary: Vocabulary, *, visible: Collection[str] = ()) -> tokenizers.Tokenizer:
    """Build a tokenizer of the tokenizers library with the same ids. Raises UnsupportedError where that is impossible.

    The `visible` control tokens are not marked special: the library shows them when it decodes, and always encodes
    their names as the tokens.
    """
    if vocabulary.bytes_without_id:
        raise UnsupportedError(
            f"{vocabulary.source} has no token for some bytes, so it has no fast tokenizer: use QWenTokenizer"
        )
    return tokenizers.Tokenizer.from_str(
        json.dumps(tokenizer_json(vocabulary, merges=list(merges_of(vocabulary)), visible=visible))
    )
