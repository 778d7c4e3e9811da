"""What goes along with the weights: the tokenizer, the chat template and how to generate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen7b.gguf_header import read_gguf_header
from qwen7b.json_file import read_json
from qwen7b.regular_file import SMALL, checkpoint_text
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.chatml import CHAT_TEMPLATE
from qwen7b.text.gguf_vocabulary import USER_DEFINED
from qwen7b.weights.checkpoint import Checkpoint
from qwen7b.weights.settings import GenerationSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Companions:
    name: str
    tokenizer: Tokenizer
    visible: frozenset[str]
    """Control tokens that other programs show as text, such as <tool_call>."""
    chat_template: str | None
    generation: GenerationSettings
    is_chat: bool

    @property
    def stop_ids(self) -> list[int]:
        """The ids that end a reply or a text, the usual one first."""
        tokenizer = self.tokenizer
        usual = [tokenizer.im_end_id, tokenizer.end_of_text_id] if self.is_chat else [tokenizer.end_of_text_id]
        ids = [id for id in usual if id is not None]
        return ids + sorted(self.generation.stop_ids.difference(ids))


def read_companions(checkpoint: Checkpoint, *, name: str) -> Companions:
    """What goes along with a checkpoint, which is called `name` unless it says another itself."""
    tokenizer = load_tokenizer(checkpoint.path)
    is_chat = _is_chat(checkpoint, tokenizer)
    if checkpoint.path.is_dir():
        visible, template = _folder_visible(checkpoint.path), _folder_template(checkpoint.path)
    else:
        metadata = read_gguf_header(checkpoint.path).metadata
        name = metadata.get("general.name", name)
        visible, template = _gguf_visible(metadata), metadata.get("tokenizer.chat_template")
    if template is None and is_chat and tokenizer.is_chatml:
        template = CHAT_TEMPLATE
    return Companions(
        name=name,
        tokenizer=tokenizer,
        visible=visible & tokenizer.control_tokens.keys(),
        chat_template=template,
        generation=checkpoint.generation,
        is_chat=is_chat,
    )


def _is_chat(checkpoint: Checkpoint, tokenizer: Tokenizer) -> bool:
    generation = checkpoint.generation
    if generation.is_chat is not None or not tokenizer.is_chatml:
        return bool(generation.is_chat)
    if checkpoint.config.family == "qwen" or not generation.stop_ids:
        return True
    return tokenizer.im_end_id in generation.stop_ids


def _folder_template(folder: Path) -> str | None:
    if (path := folder / "chat_template.jinja").exists():
        return checkpoint_text(path, limit=SMALL)
    template = _tokenizer_config(folder).get("chat_template")
    if isinstance(template, list):  # several, each with a name
        template = next((one["template"] for one in template if one["name"] == "default"), None)
    return template if isinstance(template, str) else None


def _folder_visible(folder: Path) -> frozenset[str]:
    if (path := folder / "tokenizer.json").exists():
        added = read_json(path).get("added_tokens") or []
    else:
        added = list(_tokenizer_config(folder).get("added_tokens_decoder", {}).values())
    return frozenset(token["content"] for token in added if not token.get("special", False))


def _gguf_visible(metadata: Mapping[str, Any]) -> frozenset[str]:
    pairs = zip(metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"], strict=True)
    return frozenset(token for token, type in pairs if type == USER_DEFINED)


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.exists() else {}
