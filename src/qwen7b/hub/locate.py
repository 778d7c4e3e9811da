"""Finds the folder or file of a model that a user names: by a path, a known or official name, or a hub id."""

from __future__ import annotations

import os
from pathlib import Path

from qwen7b.errors import DownloadError, ModelNotFoundError, SettingError, quoted
from qwen7b.files.file_names import WEIGHT_SUFFIXES
from qwen7b.hub.address import HUB_TITLES, parse_address
from qwen7b.hub.fetch import fetch
from qwen7b.hub.known import KNOWN_MODELS, find_known, similar_names
from qwen7b.hub.official import ORGANIZATION, find_official
from qwen7b.hub.protocol import Reference
from qwen7b.hub.repository import fetch_repository, parse_reference
from qwen7b.hub.saved_steps import last_step
from qwen7b.system.environment import hub_name

_FILE_SUFFIXES = {".gguf", ".json", ".tiktoken", *WEIGHT_SUFFIXES}


def locate(model: str | Path, *, offline: bool | None = None) -> Path:
    """The folder or file of a model, fetched if it has to be; a path never touches the network.

    A run's folder stands for its last saved step.

    A known name means the known model even where a folder has that name: write "./demo" for the folder. The official
    names of first-generation Qwen, such as "Qwen-7B-Chat", mean its hub ids where no file or folder has that name.
    Raises ModelNotFoundError where nothing has that name, DownloadError and ResourceError where it cannot be fetched.

    >>> locate("./Qwen-7B-Chat")  # doctest: +SKIP
    PosixPath('Qwen-7B-Chat')
    """
    if not isinstance(model, (str, os.PathLike)) or not isinstance(name := os.fspath(model), str):
        raise SettingError(f"a model should be named by a string or a path, found {quoted(model)}")
    if isinstance(model, str) and name in KNOWN_MODELS:
        return fetch(name, offline=offline)
    path = Path(os.path.expanduser(name))
    if name and os.path.exists(path):
        return last_step(path)
    if isinstance(model, str) and (reference := parse_address(name)):
        return _fetch_repository(reference, offline=offline)
    if not isinstance(model, str) or _looks_like_path(name):
        where = "" if os.path.isdir(path.parent) else f", nor a folder {path.parent}"
        official = find_official(name)
        choice = f"{official.name} for the one on the hub" if official else "a known name or a hub id"
        raise ModelNotFoundError(f"there is no file or folder {path}{where}: check the path, or give {choice}")
    if reference := _official_reference(name) or parse_reference(name):
        return _fetch_repository(reference, offline=offline)
    return fetch(find_known(name).name, offline=offline)  # raises with similar names


def _fetch_repository(reference: Reference, *, offline: bool | None) -> Path:
    try:
        return fetch_repository(reference, offline=offline)
    except (DownloadError, ModelNotFoundError) as error:
        raise type(error)(f"{error}{_remedies(reference.repository)}") from error


def _official_reference(name: str) -> Reference | None:
    base_name, at, revision = name.partition("@")
    official = find_official(base_name)
    return parse_reference(f"{official.repository}{at}{revision}") if official else None


def _remedies(repository: str) -> str:
    """The end of a message about a repository that could not be fetched: what to do instead."""
    if official := find_official(repository):
        hub = HUB_TITLES[hub_name()]
        return (
            f"; it would be {official.size / 1e9:.1f} GB from {hub}: where there is a network, 'qwen7b pull "
            f"{official.name}' fetches it and prints its folder; copy that here (cp -rL) and give the copy"
        )
    organization, _, name = repository.partition("/")
    similar = similar_names(name) if organization.lower() == ORGANIZATION.lower() else []
    return f"; did you mean {similar[0]}?" if similar else ""


def _looks_like_path(name: str) -> bool:
    if name.startswith((".", "~", os.sep, "/")) or Path(name).is_absolute() or "\\" in name:
        return True
    reference = parse_reference(name)
    if reference and (reference.file or reference.revision):
        return False
    return Path(name).suffix.lower() in _FILE_SUFFIXES or ("/" in name and os.path.exists(Path(name).parent))
