"""What a checkpoint has beside its weights: the tokenizer, the chat template and the generation settings."""

from __future__ import annotations

import os
from dataclasses import dataclass

from qwen7b.checkpoint.chat_verdict import decide_chat, declared_endings
from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.generation_settings import GenerationSettings
from qwen7b.errors import SettingError
from qwen7b.files.gguf_header import read_gguf_header
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.chat_prompt import template_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Companions:
    """Everything that a target needs beside the weights, as the source's files say it."""

    name: str
    tokenizer: Tokenizer
    generation: GenerationSettings
    is_chat: bool
    chat_template: str | None
    """The source's own template; ChatML as a template if it has none but chats; else None."""
    stop_ids: list[int]
    """The ids that end a reply or a text, the most common one first."""

    @property
    def special_tokens(self) -> dict[str, str]:
        """The names of control tokens by the variables that settings and templates use for them."""
        names = {id: name for name, id in self.tokenizer.control_tokens.items()}
        usual = {
            "eos_token": names.get(next(iter(self.stop_ids), -1)),
            "pad_token": None if self.tokenizer.end_of_text_id is None else names[self.tokenizer.end_of_text_id],
        }
        own = dict(self.tokenizer.vocabulary.settings.special_tokens)
        if "eos_token" not in (self.chat_template or ""):
            own.pop("eos_token", None)  # so that other programs stop at the usual one
        return {variable: name for variable, name in (usual | own).items() if name is not None}


def read_companions(
    checkpoint: Checkpoint, *, name: str, chat: bool | None = None, tokenizer: Tokenizer | None = None
) -> Companions:
    """Read the companions of a checkpoint; its name is `name` unless the file itself has one.

    A `tokenizer` takes the place of the one in its files.

    `chat` says whether the model was trained to chat, if its files do not say so or are wrong.
    """
    tokenizer, generation = tokenizer or load_tokenizer(checkpoint.path), checkpoint.generation
    is_chat = decide_chat(generation, tokenizer, checkpoint.config, override=chat).is_chat
    format, template = tokenizer.chat_format, tokenizer.vocabulary.settings.chat_template
    if chat and format is None:
        raise SettingError(
            f"{checkpoint.path} has neither a chat template nor <|im_start|> and <|im_end|>, so it cannot chat: leave "
            "out chat=True (--chat)"
        )
    if chat is False:
        template = None
    if template is None and is_chat:
        template = template_of(tokenizer)
    if not checkpoint.path.is_dir():
        own = read_gguf_header(checkpoint.path).metadata.get("general.name")
        name = own if isinstance(own, str) else name
    return Companions(
        name=os.fsencode(name).decode(errors="replace"),  # a folder's name may be any bytes
        tokenizer=tokenizer,
        generation=generation,
        is_chat=is_chat,
        chat_template=template,
        stop_ids=_stop_ids(tokenizer, generation, is_chat=is_chat, chat_override=chat),
    )


def _stop_ids(
    tokenizer: Tokenizer, generation: GenerationSettings, *, is_chat: bool, chat_override: bool | None
) -> list[int]:
    ends = tokenizer.chat_format.ends if tokenizer.chat_format else frozenset[str]()
    reply_ends = [tokenizer.control_tokens[name] for name in sorted(ends)]
    usual = reply_ends if is_chat else []
    if tokenizer.end_of_text_id is not None:
        usual = [*usual, tokenizer.end_of_text_id]
    declared = set(declared_endings(generation, tokenizer))
    if chat_override is False:
        declared -= {*reply_ends}
    return list(dict.fromkeys([*usual, *sorted(declared)]))
