"""Whether a model was trained to chat, and which tokens end its replies, decided in one place from all its files."""

from __future__ import annotations

from dataclasses import dataclass

from qwen7b.checkpoint.generation_settings import GenerationSettings
from qwen7b.config import Family, ModelConfig
from qwen7b.errors import PromptError
from qwen7b.text import Tokenizer
from qwen7b.text.chatml import ChatML


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a model was trained to chat, and why that is assumed."""

    is_chat: bool
    reason: str
    """What decided it: the file and field, for messages."""


def find_endings(generation: GenerationSettings, tokenizer: Tokenizer) -> dict[int, str]:
    """The ids that end a reply, collected from all files, each with the file and field that say so."""
    return {**tokenizer.endings, **declared_endings(generation, tokenizer)}


def decide_chat(
    generation: GenerationSettings, tokenizer: Tokenizer, config: ModelConfig, *, override: bool | None = None
) -> Verdict:
    """Whether a model was trained to chat: as the user says, else as its files say; by default, yes.

    A ChatML template proves little, as base models have one too; the token that ends a text tells them apart.
    """
    if override is not None:
        return Verdict(is_chat=override, reason=f"chat={override}")
    if generation.is_chat is not None:
        return Verdict(is_chat=generation.is_chat, reason=f"{generation.source} (chat_format)")
    source = tokenizer.vocabulary.source
    if tokenizer.chat_format is None:
        return Verdict(is_chat=False, reason=f"{source}, which has no chat template and no <|im_start|>")
    if not isinstance(tokenizer.chat_format, ChatML):
        return Verdict(is_chat=True, reason=tokenizer.vocabulary.settings.chat_template_source)
    declared = declared_endings(generation, tokenizer)
    im_end = tokenizer.im_end_id
    if im_end in declared:
        return Verdict(is_chat=True, reason=declared[im_end])
    if config.family is Family.QWEN or not declared:
        return Verdict(is_chat=True, reason=f"{source}, which has <|im_start|> and <|im_end|>")
    return Verdict(is_chat=False, reason=f"{next(iter(declared.values()))}, which does not name <|im_end|>")


def check_chats(verdict: Verdict, *, name: str) -> None:
    """Raise PromptError for a base model."""
    if not verdict.is_chat:
        raise PromptError(
            f"{name or 'this model'} is a base model, not trained to chat: use complete, or load its chat version; "
            f"{verdict.reason} says so, and chat=True (--chat) overrides it where it does chat"
        )


def declared_endings(generation: GenerationSettings, tokenizer: Tokenizer) -> dict[int, str]:
    """The endings that fields of the files name, the most reliable ones first."""
    other_endings = {id: source for id, source in generation.other_endings.items() if tokenizer.is_control(id)}
    tokenizer_endings = {
        id: source
        for name, source in tokenizer.vocabulary.settings.ends.items()
        if (id := tokenizer.vocabulary.id_of(name)) is not None
    }
    return {**tokenizer_endings, **other_endings, **generation.endings}
