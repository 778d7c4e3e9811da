"""Loads the tokenizer of a model by any name that `qwen7b.load` accepts."""

from __future__ import annotations

from pathlib import Path

from qwen7b.hub.locate import locate
from qwen7b.text import Tokenizer
from qwen7b.text import load_tokenizer as read_tokenizer


def load_tokenizer(
    model: str | Path, *, extra_vocabulary: str | Path | None = None, offline: bool | None = None
) -> Tokenizer:
    """The tokenizer of a model, named as for `qwen7b.load`, or in a file of its own.

    That is a `.tiktoken`, `.gguf`, `tokenizer.json` or `vocab.json` file, or a folder that holds one; a warning says so
    where it has an unusual name there. `extra_vocabulary` names a file of extra tokens for `qwen.tiktoken`;
    in a folder it defaults to what `tokenizer_config.json` calls `extra_vocab_file`. With `offline` nothing is fetched
    (default: the environment variable QWEN7B_OFFLINE). Raises ModelNotFoundError where there is nothing,
    CheckpointError for a damaged file and UnsupportedError for a tokenizer of another kind.

    >>> load_tokenizer("demo").encode("你好，世界！")  # doctest: +SKIP
    [108386, 3837, 99489, 6313]
    """
    return read_tokenizer(locate(model, offline=offline), extra_vocabulary=extra_vocabulary)
