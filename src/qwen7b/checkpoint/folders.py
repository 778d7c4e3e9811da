"""Folders that are not checkpoints themselves: what they are, and which path to give instead."""

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

_MAX_DEPTH = 4
"""The depth to which checkpoints are searched: in the hub's cache they are three folders below its own."""
_MAX_FOLDERS = 2000
_MAX_NAMED = 5


def gguf_instead(folder: Path) -> Path | None:
    """The GGUF file to read instead of a folder; None where the folder is a checkpoint itself.

    Raises CheckpointError or UnsupportedError, with the path or command that works, where it is neither.
    """
    if has_weights(folder):
        return None
    if file := gguf_in(folder):
        return file
    if (folder / "adapter_config.json").exists():
        raise _adapter_error(folder)
    checkpoints = list(_checkpoints_below(folder))
    if checkpoints or not (folder / "config.json").exists():
        raise _no_checkpoint_error(folder, checkpoints)
    return None


def _adapter_error(folder: Path) -> Qwen7bError:
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    return UnsupportedError(
        f"{folder} is an adapter for {quoted(base)}, not a complete model: 'qwen7b doctor {shlex.quote(str(folder))}' "
        "checks it, and shows how to use it with its base or to merge it into a model"
    )


def _no_checkpoint_error(folder: Path, checkpoints: list[Path]) -> Qwen7bError:
    repository = _cached_repository(folder)
    if repository:
        snapshots = [path for path in checkpoints if path.parent.name == "snapshots"]
        alternative = (
            f", or one of its revisions: {_joined_paths(snapshots)}" if snapshots else ", which fetches what is missing"
        )
        return CheckpointError(
            f"{folder} is the hub cache's folder of {repository}: give the id {repository}{alternative}"
        )
    if not checkpoints and holds_tokenizer(folder):
        return CheckpointError(f"{folder} holds a tokenizer but no model: give the folder that has the weights too")
    if not checkpoints:
        names = ", ".join(folder_names(folder)[:8]) or "nothing"
        return CheckpointError(
            f"{folder} is neither a checkpoint nor an adapter nor a tokenizer: there is no config.json, "
            f"adapter_config.json, .gguf or tokenizer file, found {names:.300}"
        )
    description = "a checkpoint" if len(checkpoints) == 1 else f"{len(checkpoints)} checkpoints"
    return CheckpointError(
        f"{folder} is not a checkpoint itself but holds {description}: give {_joined_paths(checkpoints)}"
    )


def _joined_paths(paths: list[Path]) -> str:
    more = f" … ({len(paths) - _MAX_NAMED} more)" if len(paths) > _MAX_NAMED else ""
    return ", ".join(map(str, paths[:_MAX_NAMED])) + more


def _cached_repository(folder: Path) -> str | None:
    """The hub id of the repository whose folder in the Hugging Face cache this is, or is inside of."""
    resolved = folder.resolve()  # "." has no name
    for place in (resolved, resolved.parent):
        kind, *names = place.name.split("--")
        if kind == "models" and names and (place / "snapshots").is_dir():
            return "/".join(names)
    return None


def _checkpoints_below(folder: Path) -> Iterator[Path]:
    """The checkpoint folders, adapters and GGUF files below a folder, in the order of their paths."""
    for place, subfolders, files in islice(os.walk(folder), _MAX_FOLDERS):
        path = Path(place)
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".")
        )  # hidden ones are tools' own, such as .cache
        if len(path.relative_to(folder).parts) >= _MAX_DEPTH:
            subfolders.clear()
        if path != folder and ("adapter_config.json" in files or ("config.json" in files and has_weights(path))):
            yield path
        else:
            yield from (path / name for name in gguf_models(files) if path != folder)
