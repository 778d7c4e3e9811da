"""A tokenizer whose vocabulary is kept in the cache, beside packed weights, in a form that is read at once."""

from __future__ import annotations

import hashlib
import json
import warnings
from contextlib import suppress
from pathlib import Path

from qwen7b.gguf_parts import part_files
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.kept import as_kept, from_kept
from qwen7b.weights.environment import cache_folder
from qwen7b.whole_file import written_whole

_SUFFIX = ".vocabulary"


def kept_tokenizer(source: Path) -> Tokenizer:
    """The tokenizer of a checkpoint as `load_tokenizer` reads it; what it reads is kept for the next start.

    One that warns is not kept, so that it warns again.
    """
    path, state = _kept_path(source), _state(source)
    with suppress(OSError):
        if path.is_file() and (tokenizer := from_kept(path.read_bytes(), source=state)) is not None:
            return tokenizer
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = load_tokenizer(source)
        content = as_kept(read, source=state)
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if not caught:
        _keep(path, content)
    return read


def _kept_path(source: Path) -> Path:
    digest = hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:12]
    return cache_folder() / "packed" / f"{source.stem}-{digest}{_SUFFIX}"


def _state(source: Path) -> str:
    """What tells the files that a tokenizer may be in from others and from what they were.

    Whatever is written to a file changes the last time in its entry, which no program can set.
    """
    files = part_files(source) if source.is_file() else sorted(file for file in source.iterdir() if file.is_file())
    stats = [(file.name, file.stat()) for file in files]
    entries = [[name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in stats]
    return json.dumps([str(source.resolve()), *entries])


def _keep(path: Path, content: bytes) -> None:
    with suppress(OSError):  # a cache that cannot be written costs half a second a start, and packing has said so
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            partial.write_bytes(content)
