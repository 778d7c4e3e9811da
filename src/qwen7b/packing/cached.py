"""Lists qwen7b's own cache: packed copies of models, and files that are no longer of use. Reads no weights."""

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
"""The state of a file that the next start will use."""
_NAME = re.compile(r"(?P<stem>.+)-(?P<format>[a-z0-9]+)-(?P<digest>[0-9a-f]{12})\.safetensors", re.DOTALL)
_NOTE = re.compile(rf".+-[0-9a-f]{{12}}(?:{re.escape(VOCABULARY_SUFFIX)}|{re.escape(VERDICT_SUFFIX)})", re.DOTALL)
_ABANDONED_SECONDS = 3600.0
"""Seconds after which a small unfinished file counts as abandoned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedCopy:
    """A model's packed weights, made at its first start in a format."""

    name: str
    """The name by which a user removes it."""
    format: str
    source: Path | None
    """The checkpoint that it was made from; None where the file does not say."""
    state: str
    """CURRENT, or why no start will use it."""
    size: int
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """A file or folder in the cache that may be removed."""

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
    unused = [
        Leftover(path=copy.path, size=copy.size, reason=copy.state) for copy in list_packed() if copy.state != CURRENT
    ]
    states: dict[Path | None, str] = {file.path.resolve(): file.reason for file in unused}
    for path, source in notes():
        if (reason := states.get(source) or _note_state(path)) != CURRENT:
            unused.append(Leftover(path=path, size=size_of_entry(path), reason=reason))
    for path in _files(packed_folder()):
        if path.name.endswith(PART_SUFFIX) and (_NAME.fullmatch(path.stem) or _is_abandoned(path)):
            unused.append(Leftover(path=path, size=size_of_entry(path), reason="unfinished"))
    for model in KNOWN_MODELS.values():
        folder = model_path(model).parent
        unfinished = {f"{model.file}{PART_SUFFIX}": "unfinished download", f"{model.file}.damaged": "damaged"}
        for path in entries(folder):
            if path.name in unfinished:
                unused.append(Leftover(path=path, size=size_of_entry(path), reason=unfinished[path.name]))
            elif path.name.startswith(SCRATCH_PREFIX) and path.is_dir() and not path.is_symlink():
                unused.append(Leftover(path=path, size=folder_size(path), reason="unfinished download"))
    return unused


def disk_use() -> dict[Path, int]:
    """Bytes in qwen7b's own cache and in the hubs' caches, if they exist, which other programs share."""
    folders = (cache_folder(), huggingface.cache_folder(), modelscope.cache_folder())
    return {folder: folder_size(folder) for folder in folders if folder.is_dir()}


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; links are not followed."""
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
    """The shortest name of a source: that of a known model, of a hub repository, or of its file or folder."""
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
    return source, _source_state(source, metadata["source"], identify=identity)


def _note_source(path: Path) -> tuple[Path | None, str]:
    identity_text = (noted(path) if path.name.endswith(VERDICT_SUFFIX) else source_of_kept(path)) or ""
    try:
        return source_of(identity_text), identity_text
    except (ValueError, RecursionError):
        return None, identity_text


def _note_state(path: Path) -> str:
    source, identity_text = _note_source(path)
    return "damaged" if source is None else _source_state(source, identity_text, identify=exact_identity)


def _source_state(source: Path, identity_text: str, *, identify: Callable[[Path], str]) -> str:
    try:
        if not source.exists():
            return "source gone"
        return CURRENT if identify(source) == identity_text else "source changed"
    except OSError:  # an unreadable disk does not prove that the source is gone
        return CURRENT


def _is_abandoned(path: Path) -> bool:
    try:
        return path.name.startswith(".") and time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS
    except FileNotFoundError:  # it has been finished meanwhile
        return False


def entries(folder: Path) -> Iterator[Path]:
    """The entries of a folder of the cache; none where it is a link, whose target is not qwen7b's."""
    if folder.is_dir() and folder.resolve() == cache_folder().resolve() / folder.relative_to(cache_folder()):
        yield from sorted(folder.iterdir())


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in entries(folder) if path.is_file() and not path.is_symlink())


def size_of_entry(path: Path) -> int:
    """Bytes of a file, or of a link itself; 0 where another process has removed it."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
