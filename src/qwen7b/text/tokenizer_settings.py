"""The settings in tokenizer files beside the vocabulary: the chat template, BOS, and the tokens that end a text."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError, quoted
from qwen7b.system.json_file import read_json_if_any
from qwen7b.system.regular_file import SMALL_FILE_LIMIT, checkpoint_text

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character, which JSON can hold but no text."""
_TEMPLATE_VARIABLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerSettings:
    """How a tokenizer is meant to be used, as far as its files say so."""

    chat_template: str | None = None
    """The Jinja template that lays a conversation out."""
    chat_template_source: str = ""
    """The file and field it came from, for messages."""
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    """The names of control tokens by the variables that templates have for them, such as "bos_token"."""
    bos: str | None = None
    """The control token that is put before every text, if there is one."""
    bos_source: str = ""
    """The file and field that say so, for messages."""
    ends: Mapping[str, str] = field(default_factory=dict)
    """The names of tokens that end a text or a reply, each with the file and field that say so."""


def read_folder_settings(folder: Path, *, post_processor: object = None) -> TokenizerSettings:
    """Read `tokenizer_config.json` and the files beside it; `post_processor` is `tokenizer.json`'s.

    Raises CheckpointError for a damaged file.
    """
    config_path, map_path = folder / "tokenizer_config.json", folder / "special_tokens_map.json"
    config, special_map = read_json_if_any(config_path), read_json_if_any(map_path)
    names = {
        variable: name
        for variable in _TEMPLATE_VARIABLES
        if (name := _name(config, variable) or _name(special_map, variable))
    }
    ends: dict[str, str] = {}
    for path, fields in ((config_path, config), (map_path, special_map)):
        if end := _name(fields, "eos_token"):
            ends.setdefault(end, f"{path} (eos_token)")
    bos, after = _surrounding_tokens(post_processor)
    bos_source = f"{folder / 'tokenizer.json'} (post_processor)"
    if after is not None:
        warnings.warn(
            f"{folder / 'tokenizer.json'} puts {quoted(after)} after every text: it is left out, as no text could be "
            "continued after it",
            stacklevel=6,
        )
    if bos is None and config.get("add_bos_token") is True:
        bos, bos_source = names.get("bos_token"), f"{config_path} (add_bos_token)"
        if bos is None:
            _warn_of_no_bos(bos_source, "bos_token")
    template, source = _find_template(folder, config_path, config)
    return TokenizerSettings(
        chat_template=template,
        chat_template_source=source,
        special_tokens=names,
        bos=bos,
        bos_source=bos_source if bos else "",
        ends=ends,
    )


def gguf_settings(path: Path, metadata: Mapping[str, Any], tokens: Sequence[str]) -> TokenizerSettings:
    """Read a GGUF file's metadata; `tokens` are its tokens by id."""

    def named(key: str) -> str | None:
        id = metadata.get(f"tokenizer.ggml.{key}_token_id")
        return tokens[id] if isinstance(id, int) and 0 <= id < len(tokens) else None

    variables = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    template = metadata.get("tokenizer.chat_template")
    bos, bos_source = None, f"{path} (tokenizer.ggml.add_bos_token)"
    if metadata.get("tokenizer.ggml.add_bos_token") is True and (bos := named("bos")) is None:
        _warn_of_no_bos(bos_source, "tokenizer.ggml.bos_token_id")
    ends = {name: f"{path} (tokenizer.ggml.{key}_token_id)" for key in _GGUF_ENDS if (name := named(key))}
    return TokenizerSettings(
        chat_template=template if isinstance(template, str) and template else None,
        chat_template_source=f"{path} (tokenizer.chat_template)",
        special_tokens={variable: name for variable, key in variables.items() if (name := named(key))},
        bos=bos,
        bos_source=bos_source if bos else "",
        ends=ends,
    )


def _warn_of_no_bos(source: str, field: str) -> None:
    warnings.warn(f"{source} asks for BOS before every text, but {field} names none: it is left out", stacklevel=6)


_GGUF_ENDS = ("eom", "eot", "eos")


def _surrounding_tokens(post_processor: object) -> tuple[str | None, str | None]:
    """The control tokens that a post-processor of the tokenizers library puts before and after every text."""
    match post_processor:
        case {"type": "Sequence", "processors": [*parts]}:
            return next((around for part in parts if any(around := _surrounding_tokens(part))), (None, None))
        case {"type": "TemplateProcessing", "single": [*parts]}:
            names = [_special_name(part) for part in parts]
            return (names[0], names[-1]) if len(names) > 1 else (None, None)
        case {"type": "RobertaProcessing" | "BertProcessing", "cls": [str(before), _], "sep": [str(after), _]}:
            return before, after
    return None, None


def _special_name(part: object) -> str | None:
    match part:
        case {"SpecialToken": {"id": str(name)}}:
            return name
    return None


def _find_template(folder: Path, config_path: Path, config: Mapping[str, Any]) -> tuple[str | None, str]:
    """The default template and where it stands; a separate file has priority over a field, as in Transformers."""
    path = folder / "chat_template.jinja"
    if os.path.lexists(path):
        return checkpoint_text(path, limit=SMALL_FILE_LIMIT), str(path)
    for path, fields in ((config_path, config), (folder / "chat_template.json", None)):
        value = (read_json_if_any(path) if fields is None else fields).get("chat_template")
        if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):  # several, each with a name
            value = next((entry.get("template") for entry in value if entry.get("name") == "default"), "")
        elif isinstance(value, dict):
            value = value.get("default", "")
        if isinstance(value, str) and not _SURROGATE.search(value):
            return (value, f"{path} (chat_template)") if value else (None, "")
        if value is not None:
            raise CheckpointError(
                f"{path}: chat_template must be a string or a list of named ones, found {quoted(value)}"
            )
    return None, ""


def _name(fields: Mapping[str, Any], variable: str) -> str | None:
    """A token's name, which is written as a string or as an object with more about it."""
    value = fields.get(variable)
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None
