"""From whatever a user calls a model (a path, a known name, a hub id) to the folder or file that holds it."""

from __future__ import annotations

import os
from pathlib import Path

from qwen7b.errors import ModelNotFoundError
from qwen7b.weights.fetch import fetch
from qwen7b.weights.hub import fetch_repository, parse_reference
from qwen7b.weights.hub_address import parse_address
from qwen7b.weights.known import KNOWN_MODELS, find_known

_FILE_SUFFIXES = {".gguf", ".safetensors", ".bin", ".json", ".tiktoken"}


def locate(model: str | Path, *, offline: bool | None = None) -> Path:
    """The folder or file of a model, fetched if it has to be; a path never touches the network.

    A known name means the known model even beside a folder of that name: write "./demo" for the folder. Raises
    ModelNotFoundError where nothing has that name, DownloadError and ResourceError where it cannot be fetched.

    >>> locate("./Qwen-7B-Chat")  # doctest: +SKIP
    PosixPath('Qwen-7B-Chat')
    """
    name = os.fspath(model)
    if isinstance(model, str) and name in KNOWN_MODELS:
        return fetch(name, offline=offline)
    path = Path(os.path.expanduser(name))
    if name and os.path.exists(path):
        return path
    if isinstance(model, str) and (reference := parse_address(name)):
        return fetch_repository(reference, offline=offline)
    if isinstance(model, Path) or _looks_like_path(name):
        where = "" if os.path.isdir(path.parent) else f", nor a folder {path.parent}"
        raise ModelNotFoundError(
            f"there is no file or folder {path}{where}: check the path, or give a known name or a hub id"
        )
    if reference := parse_reference(name):
        return fetch_repository(reference, offline=offline)
    return fetch(find_known(name).name, offline=offline)  # find_known names what comes near


def _looks_like_path(name: str) -> bool:
    if name.startswith((".", "~", os.sep, "/")) or Path(name).is_absolute() or "\\" in name:
        return True
    reference = parse_reference(name)
    if reference and (reference.file or reference.revision):
        return False
    return Path(name).suffix.lower() in _FILE_SUFFIXES or ("/" in name and os.path.exists(Path(name).parent))
