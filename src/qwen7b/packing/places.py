"""Where the cache keeps files made from a checkpoint, and how it is identified; reads no weights."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from qwen7b.errors import CheckpointError
from qwen7b.files.file_names import WEIGHT_SUFFIXES
from qwen7b.files.gguf_parts import part_files
from qwen7b.system.environment import cache_folder
from qwen7b.system.regular_file import SMALL_FILE_LIMIT, read_text

_WEIGHTS_AND_SETTINGS = {".json", *WEIGHT_SUFFIXES}
VOCABULARY_SUFFIX = ".vocabulary"
VERDICT_SUFFIX = ".whole"
_PARTS, _PART_BYTES = 16, 4096


def packed_folder() -> Path:
    return cache_folder() / "packed"


def kept_path(source: Path, format: str) -> Path:
    """The path where the packed weights of a checkpoint are, or would be."""
    return packed_folder() / f"{source.stem}-{format}-{_digest(source)}.safetensors"


def vocabulary_path(source: Path) -> Path:
    """The path where the vocabulary of a checkpoint is, or would be."""
    return packed_folder() / f"{source.stem}-{_digest(source)}{VOCABULARY_SUFFIX}"


def verdict_path(weights: Path) -> Path:
    """Where it is noted that a file of packed weights was found whole."""
    return packed_folder() / f"{weights.stem}-{_digest(weights)}{VERDICT_SUFFIX}"


def noted(verdict: Path) -> str | None:
    """Which state of the weights a verdict is on; None where it cannot be read."""
    with suppress(OSError, UnicodeDecodeError, CheckpointError):
        return read_text(verdict, limit=SMALL_FILE_LIMIT)
    return None


def identity(path: Path) -> str:
    """What tells a checkpoint from another, or from what it was before: its place, and its files' sizes, times and
    samples of what they hold, as files may be given the times of others."""
    if path.is_file():
        files = part_files(path)
    else:
        files = sorted(
            file for file in path.iterdir() if file.suffix.lower() in _WEIGHTS_AND_SETTINGS and file.is_file()
        )
    stats = [(file, file.stat()) for file in files]
    entries = [[file.name, stat.st_size, stat.st_mtime_ns, _sample(file, stat.st_size)] for file, stat in stats]
    return json.dumps([str(path.resolve()), *entries])


def _sample(path: Path, size: int) -> str:
    """A hash of some parts of a file, spread over it; of one that cannot be read, of nothing."""
    digest = hashlib.sha256()
    with suppress(OSError), path.open("rb", buffering=0) as file:
        for part in range(_PARTS):
            file.seek(size * part // _PARTS)
            digest.update(file.read(_PART_BYTES))
    return digest.hexdigest()[:32]


def exact_identity(path: Path) -> str:
    """The same for a file or all files of a folder, and so that none can be changed back unseen.

    Whatever is written to a file changes the last time in its entry, which no program can set.
    """
    files = part_files(path) if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    stats = [(file.name, file.stat()) for file in files]
    entries = [[name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in stats]
    return json.dumps([str(path.resolve()), *entries])


def source_of(identity: str) -> Path:
    """The path in an identity. Raises ValueError where it is none."""
    fields = json.loads(identity)
    if not isinstance(fields, list) or not fields or not isinstance(fields[0], str):
        raise ValueError(f"no identity: {identity!r:.40}")
    return Path(fields[0])


def _digest(source: Path) -> str:
    return hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:12]
