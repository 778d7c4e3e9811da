"""Caches a tokenizer's vocabulary, beside packed weights, in a form that loads quickly."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

from qwen7b.errors import Qwen7bError
from qwen7b.packing.kept_vocabulary import as_kept, from_kept
from qwen7b.packing.places import exact_identity, vocabulary_path
from qwen7b.system.regular_file import read_whole
from qwen7b.system.whole_file import written_whole
from qwen7b.text import Tokenizer, load_tokenizer

_MAX_BYTES = 1 << 26
"""The size limit of a cached file, in bytes: enough for a million tokens, and still quick to read."""


def find_kept_tokenizer(source: Path) -> Tokenizer | None:
    """The tokenizer that an earlier start cached for a checkpoint; None where there is none for these files."""
    with suppress(OSError, Qwen7bError):  # there is none, or it cannot be read
        return from_kept(read_whole(vocabulary_path(source), limit=_MAX_BYTES), source=exact_identity(source))
    return None


def kept_tokenizer(source: Path) -> Tokenizer:
    """The tokenizer of a checkpoint as `load_tokenizer` reads it, cached for the next start.

    A tokenizer whose reading warns is not cached, so that it warns again.
    """
    if (kept := find_kept_tokenizer(source)) is not None:
        return kept
    state = exact_identity(source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer = load_tokenizer(source)
        content = as_kept(tokenizer, source=state)
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if not caught:
        _keep(vocabulary_path(source), content)
    return tokenizer


def _keep(path: Path, content: bytes) -> None:
    with suppress(OSError):  # a cache that cannot be written costs half a second a start, and packing has said so
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            partial.write_bytes(content)
