"""The Hugging Face hub, through its own library, which honours HF_ENDPOINT, HF_HOME, HF_TOKEN and proxies."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from qwen7b.errors import DownloadError, ModelNotFoundError
from qwen7b.hub.known import HubFile
from qwen7b.hub.protocol import HubEntry, Reference
from qwen7b.hub.streaming import continue_stream, is_local, reason_of
from qwen7b.system.deadline import within

CACHE_VARIABLE = "HF_HOME"
CONNECT_SECONDS = 5.0
"""Seconds within which the hub must answer."""
_ADVICE = ": check the network, set HF_ENDPOINT to a mirror or QWEN7B_HUB to modelscope, or give a local folder"


def cache_folder() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached_snapshot(reference: Reference) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # Without the pattern the library would also require the files that are never fetched.
        return Path(
            snapshot_download(
                reference.repository,
                revision=reference.revision,
                local_files_only=True,
                allow_patterns=reference.file or "config.json",
            )
        )
    except LocalEntryNotFoundError:
        return None
    except ValueError as error:
        raise _translate_error(error, reference) from error


def list_files(reference: Reference) -> Mapping[str, HubEntry]:
    from huggingface_hub import HfApi, try_to_load_from_cache

    api = HfApi(endpoint=endpoint())
    try:
        info = within(
            CONNECT_SECONDS,
            lambda: api.model_info(
                reference.repository, revision=reference.revision, files_metadata=True, timeout=CONNECT_SECONDS
            ),
        )
    except Exception as error:
        raise _translate_error(error, reference, advice=_ADVICE) from error
    entries = {}
    for sibling in info.siblings or []:
        cached = try_to_load_from_cache(reference.repository, sibling.rfilename, revision=info.sha)
        local = Path(cached) if isinstance(cached, str) else None
        entries[sibling.rfilename] = HubEntry(size=sibling.size or 0, local=local)
    return entries


def download(reference: Reference, files: Sequence[str]) -> Path:
    """Download files; after an interruption the finished ones are kept."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import tqdm

    bars: list[Any] = []

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            options |= {"disable": not sys.stderr.isatty(), "leave": False}
            super().__init__(*args, **options)  # type: ignore[no-untyped-call]
            bars.append(self)

    try:
        return Path(
            snapshot_download(
                reference.repository,
                revision=reference.revision,
                allow_patterns=list(files),
                tqdm_class=Bar,
                endpoint=endpoint(),
                etag_timeout=CONNECT_SECONDS,
            )
        )
    except Exception as error:
        raise _translate_error(error, reference, advice=_ADVICE) from error
    finally:
        for bar in reversed(bars):  # the library leaves this to the garbage collector, amid later output
            bar.close()


def continue_file(
    source: HubFile, partial: Path, *, size: int, bar: AbstractContextManager[Callable[[int], None]]
) -> None:
    """Continue one file, also one that another process began, which the library's own download cannot."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    reference = Reference(repository=source.repository, file=source.file)
    url = hf_hub_url(source.repository, source.file, endpoint=endpoint())
    try:
        hub_size = within(CONNECT_SECONDS, lambda: get_hf_file_metadata(url, timeout=CONNECT_SECONDS, token=False).size)
    except Exception as error:
        raise _translate_error(error, reference) from error
    if hub_size != size:
        raise DownloadError(f"its {source.file} has {hub_size:,} bytes instead of {size:,}")
    with bar as report:
        continue_stream(url, partial, size=size, begin=lambda _: report)


def endpoint() -> str:
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT") or constants.ENDPOINT


def _translate_error(error: Exception, reference: Reference, *, advice: str = "") -> Exception:
    """Turn the library's error into one of ours; an error about a local file stays as it is."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if is_local(error):
        return error
    repository, address = reference.repository, endpoint()
    if isinstance(error, GatedRepoError):
        return DownloadError(
            f"{repository} is gated: accept its licence at {address}/{repository}, "
            "then run 'hf auth login' or set HF_TOKEN"
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
        return ModelNotFoundError(
            f"{address} has no repository {repository}, or it is private: check the name, or run 'hf auth login'"
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(f"{repository} has no revision {reference.revision}: check it on {address}")
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return ModelNotFoundError(f"{repository} has no file {reference.file or 'that it lists'}")
    if isinstance(error, HfHubHTTPError):
        return DownloadError(f"{address} answered with HTTP {error.response.status_code}{advice}")
    return DownloadError(f"{address} could not be reached ({reason_of(error.__cause__ or error)}){advice}")
