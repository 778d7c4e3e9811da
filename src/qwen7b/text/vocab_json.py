"""The vocabulary in `vocab.json`, with `merges.txt` and the settings beside it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError, UnsupportedError, quoted
from qwen7b.system.json_file import MAX_BYTES, read_json, read_json_if_any
from qwen7b.system.regular_file import checkpoint_text
from qwen7b.text import patterns
from qwen7b.text.patterns import fits
from qwen7b.text.tokenizer_files import beside, merges_file
from qwen7b.text.tokenizer_settings import read_folder_settings
from qwen7b.text.vocabulary import Vocabulary, merged_vocabulary

# tokenizer_class: how text is cut, and whether it is NFC-normalized.
_QWEN = (patterns.QWEN, True)
_CLASSES = {
    "Qwen2Tokenizer": _QWEN,
    "Qwen2TokenizerFast": _QWEN,
    "GPT2Tokenizer": (patterns.GPT2, False),
    "GPT2TokenizerFast": (patterns.GPT2, False),
}
_GENERIC_CLASSES = (None, "PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend", "QWenTokenizer")
_SPECIAL_TOKEN_FIELDS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "pad_token",
    "additional_special_tokens",
    "extra_special_tokens",
)


def read_vocab_json(path: Path) -> Vocabulary:
    """Read the `vocab.json` at this path and the files beside it, whose names may have the same prefix."""
    ids = read_json(path)
    config_path = beside(path, "tokenizer_config.json")
    config = read_json_if_any(config_path)
    name = config.get("tokenizer_class")
    is_known = isinstance(name, str) and name in _CLASSES
    pattern, nfc = _CLASSES[str(name)] if is_known else _guess(path, config_path, name)
    control_tokens = _control_tokens(path, config_path, config)
    merges = _read_merges(merges_file(path))
    special_names = _named_tokens(path, config)
    decoder = config.get("added_tokens_decoder") or {
        name: {"content": name, "special": name in special_names} for name in control_tokens
    }
    merged = {merge.replace(" ", "") for merge in merges}
    control_tokens |= {
        name: ids[name] for name in special_names if name in ids and len(name) > 1 and name not in merged
    }
    vocabulary = merged_vocabulary(
        str(path),
        tokens={token: id for token, id in ids.items() if token not in control_tokens},
        merges=merges,
        control_tokens=control_tokens,
        pattern=pattern,
        nfc=nfc,
        visible=[added["content"] for added in decoder.values() if not added.get("special")],
        settings=read_folder_settings(path.parent),
    )
    if not is_known and not fits(pattern, vocabulary.ids):
        raise UnsupportedError(
            f"{config_path} has no tokenizer_class that qwen7b knows ({', '.join(_CLASSES)}), and the tokens in "
            f"{path.name} do not fit the way in which Qwen cuts text: take the tokenizer from the model's original "
            "repository"
        )
    return vocabulary


def _guess(path: Path, config_path: Path, name: object) -> tuple[str, bool]:
    """Qwen's pattern and normalization, if config.json says that the model is a Qwen and nothing contradicts it."""
    family = read_json_if_any(path.with_name("config.json")).get("model_type")
    if family is None:
        read_json(config_path)  # raises if this file is the one that is missing
    if name not in _GENERIC_CLASSES or family not in ("qwen", "qwen2"):
        raise UnsupportedError(
            f"{config_path} has the tokenizer_class {quoted(name)}: qwen7b knows {', '.join(_CLASSES)}"
        )
    warnings.warn(
        f"{config_path} has no usable tokenizer_class ({quoted(name)}): text is cut as Qwen's tokenizers do, as "
        f"config.json has the model_type {quoted(family)}",
        stacklevel=5,
    )
    return _QWEN


def _control_tokens(path: Path, config_path: Path, config: dict[str, Any]) -> dict[str, int]:
    """Read `added_tokens_decoder` in the settings or, as older libraries wrote it, `added_tokens.json`."""
    decoder = config.get("added_tokens_decoder")
    if not decoder:
        return dict(read_json_if_any(beside(path, "added_tokens.json")))
    try:
        return {added["content"]: int(id) for id, added in decoder.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{config_path} has a damaged added_tokens_decoder: {type(error).__name__} {error}"
        ) from error


def _named_tokens(path: Path, config: dict[str, Any]) -> set[str]:
    """The tokens that the settings name for a use; those of `vocab.json` that no merge makes are control tokens too."""
    special_names: set[str] = set()
    for fields in (config, read_json_if_any(beside(path, "special_tokens_map.json"))):
        for field in _SPECIAL_TOKEN_FIELDS:
            values = fields.get(field)
            for value in values if isinstance(values, list) else [values]:
                content = value.get("content") if isinstance(value, dict) else value
                if isinstance(content, str):
                    special_names.add(content)
    return special_names


def _read_merges(path: Path) -> list[str]:
    lines = checkpoint_text(path, limit=MAX_BYTES).split("\n")
    first = 1 if lines[0].startswith("#version") else 0
    return [line for line in lines[first:] if line]
