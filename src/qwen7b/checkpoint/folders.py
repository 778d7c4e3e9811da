"""Folders that are no checkpoint themselves: what they are, and what to give instead."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from qwen7b.errors import CheckpointError, Qwen7bError, UnsupportedError, quoted
from qwen7b.files.file_names import gguf_models
from qwen7b.files.gguf_parts import gguf_in
from qwen7b.files.weight_files import has_weights
from qwen7b.system.json_file import read_json
from qwen7b.system.regular_file import folder_names
from qwen7b.text.tokenizer_files import holds_tokenizer

_DEPTH = 4
"""Folders below which checkpoints are looked for: the hub's cache has them three below its own."""
_MAX_FOLDERS = 2000
_MAX_NAMED = 5


def gguf_instead(folder: Path) -> Path | None:
    """The GGUF file that a folder is to be read by; None where it is a checkpoint folder itself.

    Raises CheckpointError or UnsupportedError, with the path or the command that works, where it is neither.
    """
    if has_weights(folder):
        return None
    if file := gguf_in(folder):
        return file
    if (folder / "adapter_config.json").exists():
        raise _adapter(folder)
    found = list(_checkpoints_below(folder))
    if found or not (folder / "config.json").exists():
        raise _elsewhere(folder, found)
    return None


def _adapter(folder: Path) -> Qwen7bError:
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    return UnsupportedError(
        f"{folder} is an adapter for {quoted(base)}, not a whole model: 'qwen7b doctor {shlex.quote(str(folder))}' "
        "says whether it is sound and has the lines that use it with its base or merge it into a model"
    )


def _elsewhere(folder: Path, found: list[Path]) -> Qwen7bError:
    repository = _cached_repository(folder)
    if repository:
        own = [path for path in found if path.parent.name == "snapshots"]
        where = f", or one of its revisions: {_named(own)}" if own else ", which fetches what is missing"
        return CheckpointError(f"{folder} is where the hub's cache keeps {repository}: give the id {repository}{where}")
    if not found and holds_tokenizer(folder):
        return CheckpointError(f"{folder} holds a tokenizer but no model: give the folder that has the weights too")
    if not found:
        names = ", ".join(folder_names(folder)[:8]) or "nothing"
        return CheckpointError(
            f"{folder} is neither a checkpoint nor an adapter nor a tokenizer: there is no config.json, "
            f"adapter_config.json, .gguf or tokenizer file, found {names:.300}"
        )
    what = "a checkpoint" if len(found) == 1 else f"{len(found)} checkpoints"
    return CheckpointError(f"{folder} is no checkpoint itself but holds {what}: give {_named(found)}")


def _named(paths: list[Path]) -> str:
    more = f" … ({len(paths) - _MAX_NAMED} more)" if len(paths) > _MAX_NAMED else ""
    return ", ".join(map(str, paths[:_MAX_NAMED])) + more


def _cached_repository(folder: Path) -> str | None:
    """The hub id whose place in the Hugging Face cache this is, or is within."""
    whole = folder.resolve()  # "." has no name
    for place in (whole, whole.parent):
        kind, *names = place.name.split("--")
        if kind == "models" and names and (place / "snapshots").is_dir():
            return "/".join(names)
    return None


def _checkpoints_below(folder: Path) -> Iterator[Path]:
    """The checkpoint folders, adapters and GGUF files below a folder, in the order of their paths."""
    for place, subfolders, files in islice(os.walk(folder), _MAX_FOLDERS):
        path = Path(place)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))  # or of a tool's own, as .cache
        if len(path.relative_to(folder).parts) >= _DEPTH:
            subfolders.clear()
        if path != folder and ("adapter_config.json" in files or ("config.json" in files and has_weights(path))):
            yield path
        else:
            yield from (path / name for name in gguf_models(files) if path != folder)
