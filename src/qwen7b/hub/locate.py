"""Finds the folder or file of whatever a user calls a model: a path, a known or official name, or a hub id."""

from __future__ import annotations

import os
from pathlib import Path

from qwen7b.errors import DownloadError, ModelNotFoundError, SettingError, quoted
from qwen7b.files.file_names import WEIGHT_SUFFIXES
from qwen7b.hub.address import parse_address
from qwen7b.hub.fetch import fetch
from qwen7b.hub.known import KNOWN_MODELS, find_known, near_names
from qwen7b.hub.official import ORGANIZATION, find_official
from qwen7b.hub.protocol import Reference
from qwen7b.hub.repository import fetch_repository, parse_reference
from qwen7b.system.environment import hub_name

_FILE_SUFFIXES = {".gguf", ".json", ".tiktoken", *WEIGHT_SUFFIXES}


def locate(model: str | Path, *, offline: bool | None = None) -> Path:
    """The folder or file of a model, fetched if it has to be; a path never touches the network.

    A known name means the known model even beside a folder of that name: write "./demo" for the folder. The official
    names of first-generation Qwen, such as "Qwen-7B-Chat", are its hub ids where no file or folder has them. Raises
    ModelNotFoundError where nothing has that name, DownloadError and ResourceError where it cannot be fetched.

    >>> locate("./Qwen-7B-Chat")  # doctest: +SKIP
    PosixPath('Qwen-7B-Chat')
    """
    if not isinstance(model, (str, os.PathLike)) or not isinstance(name := os.fspath(model), str):
        raise SettingError(f"a model should be named by a string or a path, found {quoted(model)}")
    if isinstance(model, str) and name in KNOWN_MODELS:
        return fetch(name, offline=offline)
    path = Path(os.path.expanduser(name))
    if name and os.path.exists(path):
        return path
    if isinstance(model, str) and (reference := parse_address(name)):
        return _fetch_repository(reference, offline=offline)
    if not isinstance(model, str) or _looks_like_path(name):
        where = "" if os.path.isdir(path.parent) else f", nor a folder {path.parent}"
        official = find_official(name)
        choice = f"{official.name} for the one on the hub" if official else "a known name or a hub id"
        raise ModelNotFoundError(f"there is no file or folder {path}{where}: check the path, or give {choice}")
    if reference := _official_reference(name) or parse_reference(name):
        return _fetch_repository(reference, offline=offline)
    return fetch(find_known(name).name, offline=offline)  # find_known names what comes near


def _fetch_repository(reference: Reference, *, offline: bool | None) -> Path:
    try:
        return fetch_repository(reference, offline=offline)
    except (DownloadError, ModelNotFoundError) as error:
        raise type(error)(f"{error}{_ways_on(reference.repository)}") from error


def _official_reference(name: str) -> Reference | None:
    bare, at, revision = name.partition("@")
    official = find_official(bare)
    return parse_reference(f"{official.repository}{at}{revision}") if official else None


def _ways_on(repository: str) -> str:
    """Remedies for someone who did not get a repository."""
    if official := find_official(repository):
        hub = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}[hub_name()]
        return (
            f"; it would be {official.size / 1e9:.1f} GB from {hub}: where there is a network, 'qwen7b pull "
            f"{official.name}' fetches it and prints a folder, whose copy (cp -rL) is a model here"
        )
    organization, _, name = repository.partition("/")
    near = near_names(name) if organization.lower() == ORGANIZATION.lower() else []
    return f"; did you mean {near[0]}?" if near else ""


def _looks_like_path(name: str) -> bool:
    if name.startswith((".", "~", os.sep, "/")) or Path(name).is_absolute() or "\\" in name:
        return True
    reference = parse_reference(name)
    if reference and (reference.file or reference.revision):
        return False
    return Path(name).suffix.lower() in _FILE_SUFFIXES or ("/" in name and os.path.exists(Path(name).parent))
