"""The ModelScope hub, through its own library, which honours MODELSCOPE_ENDPOINT and MODELSCOPE_CACHE."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from qwen7b.errors import DownloadError, ModelNotFoundError
from qwen7b.hub.known import HubFile
from qwen7b.hub.protocol import HubEntry, Reference
from qwen7b.system.deadline import within
from qwen7b.system.storage import size_of

CACHE_VARIABLE = "MODELSCOPE_CACHE"
CONNECT_SECONDS = 10.0
"""Seconds within which the hub must list a repository."""


def cache_folder() -> Path:
    return Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope")


def cached_snapshot(reference: Reference) -> Path | None:
    from modelscope.hub.errors import CacheNotFound

    try:
        return Path(_snapshot_download(reference, local_files_only=True))
    except CacheNotFound:
        return None


def list_files(reference: Reference) -> Mapping[str, HubEntry]:
    from modelscope.hub.api import HubApi

    try:
        files_on_hub = within(
            CONNECT_SECONDS,
            lambda: HubApi().get_model_files(reference.repository, revision=reference.revision, recursive=True),
        )
    except Exception as error:
        raise _translate_error(error, reference) from error
    cached = cached_snapshot(reference)
    entries = {}
    for entry in files_on_hub:
        name, size = entry["Path"], entry["Size"]
        local = cached / name if cached and size_of(cached / name) == size else None
        entries[name] = HubEntry(size=size, local=local)
    return entries


def download(reference: Reference, files: Sequence[str]) -> Path:
    """Download files; after an interruption the library continues."""
    try:
        return Path(_snapshot_download(reference, allow_patterns=list(files)))
    except Exception as error:
        raise _translate_error(error, reference) from error


def continue_file(
    source: HubFile, partial: Path, *, size: int, bar: AbstractContextManager[Callable[[int], None]]
) -> None:
    """Continue one file; the library shows its own bar, and continues only what it began itself."""
    if size_of(partial) == size:
        return
    reference = Reference(repository=source.repository, file=source.file)
    entry_on_hub = list_files(reference).get(source.file)
    if entry_on_hub is None or entry_on_hub.size != size:
        raise DownloadError(f"it has no {source.file} of {size:,} bytes")
    folder = partial.parent / "modelscope"
    try:
        _snapshot_download(reference, allow_patterns=[source.file], local_dir=str(folder))
    except Exception as error:
        raise _translate_error(error, reference) from error
    os.replace(folder / source.file, partial)
    shutil.rmtree(folder, ignore_errors=True)


def _snapshot_download(reference: Reference, **options: Any) -> str:
    from modelscope.hub.snapshot_download import snapshot_download

    return str(snapshot_download(reference.repository, revision=reference.revision, **options))


def _translate_error(error: Exception, reference: Reference) -> Exception:
    """Turn the library's error into one of ours; an error about a local file stays as it is."""
    from modelscope.hub.errors import AuthenticationError, NotExistError, PermissionDeniedError

    for cause in (error, *getattr(error, "failed_files", {}).values()):
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause
    if isinstance(error, NotExistError):
        return ModelNotFoundError(f"ModelScope has no repository {reference}, or it is private: check the name")
    if isinstance(error, (AuthenticationError, PermissionDeniedError)):
        return DownloadError(f"ModelScope gives {reference} only to some accounts: set MODELSCOPE_API_TOKEN")
    reason = next(iter(str(error).splitlines()), "") or "no reason given"
    return DownloadError(
        f"ModelScope could not be reached ({type(error).__name__}: {reason}): check the network, set "
        "MODELSCOPE_ENDPOINT or unset QWEN7B_HUB, or give a local folder"
    )
