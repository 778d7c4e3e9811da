"""What both tokenizers share: the original's names for control tokens, and ChatML assembled as token ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import BatchEncoding

from qwen7b.errors import CheckpointError, PromptError, SettingError
from qwen7b.hf.control_names import ControlNamesMixin, check_roles
from qwen7b.text import Message, Tokenizer
from qwen7b.text.messages import read_messages

_END_OF_TEXT = "<|endoftext|>"

# What a tokenizer_config.json may hold that the vocabulary knows better, or that names code of the checkpoint's.
_DROPPED = ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "auto_map")


class ChatTokenizer(ControlNamesMixin):
    """A Transformers tokenizer that has an exact one of ours, `plain_tokenizer`, beside it."""

    vocab_files_names = {"vocab_file": "qwen.tiktoken", "tokenizer_file": "tokenizer.json"}
    model_input_names = ["input_ids", "attention_mask"]
    plain_tokenizer: Tokenizer

    @property
    def special_tokens(self) -> dict[str, int]:
        """Names and ids of the control tokens."""
        return dict(self.plain_tokenizer.control_tokens)

    @property
    def eod_id(self) -> int | None:
        """The id of <|endoftext|>, by the original's name."""
        return self.plain_tokenizer.end_of_text_id

    @property
    def im_start_id(self) -> int | None:
        return self.plain_tokenizer.im_start_id

    @property
    def im_end_id(self) -> int | None:
        return self.plain_tokenizer.im_end_id

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
        **kwargs: Any,
    ) -> Any:
        """ChatML of a conversation, or of a list of them, with the arguments and results of Transformers.

        It is assembled as token ids, not as a text that is then parsed: no message can hold a control token, whatever
        it says. With `tokenize=False` the text comes back, which to encode again takes `allowed_special="all"`.
        """
        if tools or documents or chat_template:
            raise SettingError("this tokenizer assembles plain ChatML: it takes no tools, documents or chat_template")
        if kwargs.get("return_assistant_tokens_mask") or (continue_final_message and add_generation_prompt):
            raise SettingError(
                "return_assistant_tokens_mask, and continue_final_message with add_generation_prompt, are not supported"
            )
        if not conversation:
            raise SettingError("the conversation is empty: give at least one message")
        batched = not isinstance(conversation[0], Mapping)
        rows = [
            _conversation_ids(
                self.plain_tokenizer,
                getattr(messages, "messages", messages),
                ask_for_reply=add_generation_prompt,
                open_ended=continue_final_message,
            )
            for messages in (conversation if batched else [conversation])
        ]
        if not tokenize:
            texts = [self.plain_tokenizer.decode(row) for row in rows]
            return texts if batched else texts[0]
        if truncation:
            limit = max_length or self.model_max_length  # type: ignore[attr-defined]
            left = self.truncation_side == "left"  # type: ignore[attr-defined]
            rows = [row[-limit:] if left else row[:limit] for row in rows]
        encoding = BatchEncoding(
            self.pad(  # type: ignore[attr-defined]
                {"input_ids": rows}, padding=padding, max_length=max_length, return_attention_mask=True
            ),
            tensor_type=return_tensors,
        )
        if not batched and return_tensors is None:
            encoding = BatchEncoding({name: values[0] for name, values in encoding.items()})
        return encoding if return_dict else encoding["input_ids"]


def find_vocabulary(path: str | None, extra_vocab_file: str | None) -> tuple[Path, Path | None]:
    """The vocabulary's file and that of extra tokens, which lies beside it or where it says."""
    if path is None:
        names = " or ".join(ChatTokenizer.vocab_files_names.values())
        raise CheckpointError(f"there is no tokenizer here: the folder should hold {names}")
    if extra_vocab_file is None:
        return Path(path), None
    beside = Path(path).parent / Path(extra_vocab_file).name
    return Path(path), beside if beside.exists() else Path(extra_vocab_file)


def complete_settings(settings: Mapping[str, Any], *, control_names: Collection[str]) -> dict[str, Any]:
    """Keywords for Transformers' constructor: the user's and the file's, over the defaults of both tokenizers."""
    complete: dict[str, Any] = {"padding_side": "left"}
    if _END_OF_TEXT in control_names:
        complete |= {"eos_token": _END_OF_TEXT, "pad_token": _END_OF_TEXT}
    complete |= {name: value for name, value in settings.items() if name not in _DROPPED and value is not None}
    check_roles(complete, control_names)
    return complete


def _conversation_ids(
    tokenizer: Tokenizer, messages: Sequence[Message], *, ask_for_reply: bool, open_ended: bool
) -> list[int]:
    """All messages, each closed and followed by a newline; then, if asked for, the beginning of a reply."""
    format = tokenizer.chat_format
    if format is None:
        raise PromptError(f"{tokenizer} has neither a chat template nor <|im_start|> and <|im_end|>: it cannot chat")
    read = read_messages(messages)
    return format.encode_open(tokenizer, read) if open_ended else format.encode(tokenizer, read, ask=ask_for_reply)
