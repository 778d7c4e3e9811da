"""The vocabulary in `vocab.json`, with `merges.txt` and `tokenizer_config.json` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError, UnsupportedError
from qwen7b.json_file import read_json
from qwen7b.text import patterns
from qwen7b.text.vocabulary import Vocabulary, merged_vocabulary

# tokenizer_class: how text is cut, and whether it is NFC-normalized.
_CLASSES = {
    "Qwen2Tokenizer": (patterns.QWEN, True),
    "Qwen2TokenizerFast": (patterns.QWEN, True),
    "GPT2Tokenizer": (patterns.GPT2, False),
    "GPT2TokenizerFast": (patterns.GPT2, False),
}


def read_vocab_json(path: Path) -> Vocabulary:
    """Read `vocab.json` at this path and the files beside it."""
    ids = read_json(path)
    config_path = path.with_name("tokenizer_config.json")
    config = read_json(config_path)
    name = config.get("tokenizer_class")
    if not isinstance(name, str) or name not in _CLASSES:
        raise UnsupportedError(f"{config_path} has the tokenizer_class {name!r}: qwen7b knows {', '.join(_CLASSES)}")
    pattern, nfc = _CLASSES[name]
    control_tokens = _control_tokens(config_path, config)
    return merged_vocabulary(
        str(path),
        tokens={token: id for token, id in ids.items() if token not in control_tokens},
        merges=_read_merges(path.with_name("merges.txt")),
        control_tokens=control_tokens,
        pattern=pattern,
        nfc=nfc,
    )


def _control_tokens(path: Path, config: dict[str, Any]) -> dict[str, int]:
    try:
        return {added["content"]: int(id) for id, added in config.get("added_tokens_decoder", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a damaged added_tokens_decoder: {type(error).__name__} {error}") from error


def _read_merges(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    first = 1 if lines[0].startswith("#version") else 0
    return [line for line in lines[first:] if line]
