"""What lies in qwen7b's own cache: packed copies of models, and what is of no more use. Reads no weights."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from qwen7b.files.file_names import is_gguf
from qwen7b.hub import huggingface, modelscope
from qwen7b.hub.fetch import model_path
from qwen7b.hub.known import KNOWN_MODELS
from qwen7b.hub.wheels import SCRATCH_PREFIX
from qwen7b.packed.version import VERSION, VERSION_FIELD
from qwen7b.packing.kept_vocabulary import source_of_kept
from qwen7b.packing.places import (
    VERDICT_SUFFIX,
    VOCABULARY_SUFFIX,
    exact_identity,
    identity,
    noted,
    packed_folder,
    source_of,
)
from qwen7b.system.environment import cache_folder
from qwen7b.system.whole_file import PART_SUFFIX

CURRENT = "current"
"""The state of what the next start will use."""
_NAME = re.compile(r"(?P<stem>.+)-(?P<format>[a-z0-9]+)-(?P<digest>[0-9a-f]{12})\.safetensors", re.DOTALL)
_NOTE = re.compile(rf".+-[0-9a-f]{{12}}(?:{re.escape(VOCABULARY_SUFFIX)}|{re.escape(VERDICT_SUFFIX)})", re.DOTALL)
_LONG_AGO = 3600.0
"""Seconds after which a small file that is still unfinished was given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedCopy:
    """A model's packed weights, made at its first start in a format."""

    name: str
    """What to call it by."""
    format: str
    source: Path | None
    """What it was made from; None where the file does not say."""
    state: str
    """CURRENT, or why no start will use it."""
    size: int
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """Something in the cache that may go."""

    path: Path
    size: int
    reason: str


def list_packed() -> list[PackedCopy]:
    """All packed copies, by name."""
    copies = [_packed_copy(path) for path in _files(packed_folder()) if _NAME.fullmatch(path.name)]
    count = Counter(copy.name for copy in copies)
    named = [replace(copy, name=copy.path.stem) if count[copy.name] > 1 else copy for copy in copies]
    return sorted(named, key=lambda copy: copy.name)


def notes() -> list[tuple[Path, Path | None]]:
    """Kept vocabularies and verdicts, and what each is of, as far as it says."""
    return [(path, _note_source(path)[0]) for path in _files(packed_folder()) if _NOTE.fullmatch(path.name)]


def leftovers() -> list[Leftover]:
    """What no start will use: copies and notes without their source, unfinished and damaged files."""
    found = [
        Leftover(path=copy.path, size=copy.size, reason=copy.state) for copy in list_packed() if copy.state != CURRENT
    ]
    states: dict[Path | None, str] = {file.path.resolve(): file.reason for file in found}
    for path, source in notes():
        if (reason := states.get(source) or _note_state(path)) != CURRENT:
            found.append(Leftover(path=path, size=size_of_entry(path), reason=reason))
    for path in _files(packed_folder()):
        if path.name.endswith(PART_SUFFIX) and (_NAME.fullmatch(path.stem) or _was_given_up(path)):
            found.append(Leftover(path=path, size=size_of_entry(path), reason="unfinished"))
    for model in KNOWN_MODELS.values():
        folder = model_path(model).parent
        unfinished = {f"{model.file}{PART_SUFFIX}": "unfinished download", f"{model.file}.damaged": "damaged"}
        for path in entries(folder):
            if path.name in unfinished:
                found.append(Leftover(path=path, size=size_of_entry(path), reason=unfinished[path.name]))
            elif path.name.startswith(SCRATCH_PREFIX) and path.is_dir() and not path.is_symlink():
                found.append(Leftover(path=path, size=folder_size(path), reason="unfinished download"))
    return found


def disk_use() -> dict[Path, int]:
    """Bytes in qwen7b's own cache and, where they are there, in those of the hubs, which other programs share."""
    folders = (cache_folder(), huggingface.cache_folder(), modelscope.cache_folder())
    return {folder: folder_size(folder) for folder in folders if folder.is_dir()}


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; what links point to is not in it."""
    sizes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # gone meanwhile
                sizes += size_of_entry(Path(parent, name))
    return sizes


def _packed_copy(path: Path) -> PackedCopy:
    parts = _NAME.fullmatch(path.name)
    assert parts is not None
    source, state = _source_and_state(path)
    stem = parts["stem"] if source is None else _name_of(source)
    return PackedCopy(
        name=f"{stem}-{parts['format']}",
        format=parts["format"],
        source=source,
        state=state,
        size=size_of_entry(path),
        path=path,
    )


def _name_of(source: Path) -> str:
    """The shortest name that a source has: a known one, a hub's, or that of its file or folder."""
    for model in KNOWN_MODELS.values():
        if source == model_path(model).resolve():
            return model.name
    if source.parent.name == "snapshots" and source.parent.parent.name.startswith("models--"):
        return source.parent.parent.name.rpartition("--")[2]
    return source.stem if is_gguf(source.name) else source.name


def _source_and_state(path: Path) -> tuple[Path | None, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        source = source_of(metadata["source"])
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError):
        return None, "damaged"
    if metadata.get(VERSION_FIELD) != str(VERSION):
        return source, "of another version"
    return source, _source_state(source, metadata["source"], now=identity)


def _note_source(path: Path) -> tuple[Path | None, str]:
    said = (noted(path) if path.name.endswith(VERDICT_SUFFIX) else source_of_kept(path)) or ""
    try:
        return source_of(said), said
    except (ValueError, RecursionError):
        return None, said


def _note_state(path: Path) -> str:
    source, said = _note_source(path)
    return "damaged" if source is None else _source_state(source, said, now=exact_identity)


def _source_state(source: Path, said: str, *, now: Callable[[Path], str]) -> str:
    try:
        if not source.exists():
            return "source gone"
        return CURRENT if now(source) == said else "source changed"
    except OSError:  # a disk that does not answer proves nothing
        return CURRENT


def _was_given_up(path: Path) -> bool:
    try:
        return path.name.startswith(".") and time.time() - path.lstat().st_mtime > _LONG_AGO
    except FileNotFoundError:  # it has been finished meanwhile
        return False


def entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder of ours; nothing where it is a link, as what is behind that is somebody else's."""
    if folder.is_dir() and folder.resolve() == cache_folder().resolve() / folder.relative_to(cache_folder()):
        yield from sorted(folder.iterdir())


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in entries(folder) if path.is_file() and not path.is_symlink())


def size_of_entry(path: Path) -> int:
    """Bytes of a file, or of a link itself; 0 where another process has removed it meanwhile."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
