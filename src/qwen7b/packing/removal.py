"""Removes files that a user names, or that are no longer of use, from qwen7b's own cache and from nowhere else."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from qwen7b.errors import ModelNotFoundError, SettingError
from qwen7b.hub.fetch import model_path
from qwen7b.hub.known import KNOWN_MODELS, KnownModel
from qwen7b.hub.listing import list_hub_models
from qwen7b.packing.cached import Leftover, PackedCopy, entries, list_packed, notes, size_of_entry
from qwen7b.system.storage import only_one_process, storage_errors


def named_files(names: Iterable[str]) -> list[Leftover]:
    """The files of fetched models and of packed copies by their names; a model's packed copies go with it.

    Raises ModelNotFoundError for a name that nothing in the cache has, with similar names, and SettingError for
    a file that lies elsewhere.
    """
    copies = list_packed()
    files_by_path: dict[Path, Leftover] = {}
    for name in names:
        if name in KNOWN_MODELS and (files := _model_files(KNOWN_MODELS[name])):
            source = model_path(KNOWN_MODELS[name]).resolve()
            own = [copy for copy in copies if copy.source == source]
        else:
            files, own = [], [copy for copy in copies if name in (copy.name, copy.path.stem, copy.path.name)]
        if not files and not own:
            raise _missing_error(name, copies)
        files += [Leftover(path=copy.path, size=copy.size, reason="packed weights") for copy in own]
        files_by_path |= {file.path: file for file in files}
    return [*files_by_path.values(), *_orphaned_notes(copies, gone=files_by_path.keys())]


def remove(files: list[Leftover], *, still: Callable[[], list[Leftover]]) -> list[Leftover]:
    """Delete files of the cache and return those that were deleted; waits for a process that writes beside them.

    `still` lists them again once no other process writes: a file that it leaves out has become useful and stays.
    Processes that are reading a file can go on. Raises ResourceError where the system refuses.
    """
    removed = []
    for folder in sorted({file.path.parent for file in files}):
        with (
            storage_errors(folder, variable="QWEN7B_CACHE"),
            only_one_process(folder, what=f"in {folder}", doing="writing"),
        ):
            current = {file.path for file in still()}
            for file in files:
                if file.path.parent == folder and file.path in current:
                    if file.path.is_dir() and not file.path.is_symlink():
                        shutil.rmtree(file.path)
                    else:
                        file.path.unlink(missing_ok=True)
                    removed.append(file)
    return removed


def removable_names() -> list[str]:
    """The names that `named_files` accepts, for completion."""
    fetched = [model.name for model in KNOWN_MODELS.values() if _model_files(model)]
    return fetched + [copy.name for copy in list_packed()]


def _model_files(model: KnownModel) -> list[Leftover]:
    path = model_path(model)
    return [
        Leftover(path=entry, size=size_of_entry(entry), reason="model")
        for entry in entries(path.parent)
        if entry.name.startswith(path.name) and (entry.is_symlink() or entry.is_file())
    ]


def _orphaned_notes(copies: list[PackedCopy], *, gone: Iterable[Path]) -> list[Leftover]:
    """Vocabularies of sources of which no packed copy stays, and verdicts on what goes."""
    gone = set(gone)
    sources = {copy.source for copy in copies if copy.path in gone}
    sources -= {copy.source for copy in copies if copy.path not in gone}
    sources |= {path.resolve() for path in gone}
    return [
        Leftover(path=path, size=size_of_entry(path), reason="note") for path, source in notes() if source in sources
    ]


def _missing_error(name: str, copies: list[PackedCopy]) -> ModelNotFoundError | SettingError:
    if name.lower() in (model.name.lower() for model in list_hub_models()):
        repository = name.partition("@")[0]
        return SettingError(
            f"{name} lies in Hugging Face's cache, which other programs use too, and qwen7b deletes only from its own: "
            f"'hf cache rm model/{repository}' removes it"
        )
    if name not in KNOWN_MODELS and (Path(name).expanduser().exists() or "/" in name):
        return SettingError(
            f"{name!r} is no name: qwen7b deletes only from its own cache, by names as 'qwen7b models' lists them"
        )
    names = removable_names()
    similar = difflib.get_close_matches(name.lower(), names)
    suggestion = f": did you mean {' or '.join(map(repr, similar))}?" if similar else "."
    listed = f" The names there are {', '.join(names)}." if names else " Nothing is there to remove."
    return ModelNotFoundError(f"the cache has nothing of the name {name!r}{suggestion}{listed}")
