"""Hub repositories: "org/name", optionally with "@revision" or ":file.gguf", in; a local folder or file out.

The environment chooses the hub, Hugging Face or ModelScope; each is a module with the functions of `Hub`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

from qwen7b.errors import DownloadError, MissingExtraError, ModelNotFoundError, UnsupportedError, counted
from qwen7b.files.file_names import LICENCES, gguf_models, is_gguf
from qwen7b.hub.known import HubFile
from qwen7b.hub.official import find_official
from qwen7b.hub.protocol import Hub, HubEntry, Reference
from qwen7b.system.environment import hub_name, is_offline
from qwen7b.system.progress import say, shown_size
from qwen7b.system.storage import check_disk_space, storage_errors

_REFERENCE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:]+))?(?::(?P<file>.+))?")
_SETTINGS_PATTERNS = ("*.json", "*.jinja", "*.tiktoken", "merges.txt", *LICENCES)
_WEIGHTS_PATTERNS = ("*.safetensors", "pytorch_model*.bin")  # the first kind that a repository has is fetched


def parse_reference(text: str) -> Reference | None:
    """The parts of a hub id; None where the text is none.

    >>> parse_reference("Qwen/Qwen-7B-Chat@v1.1.9")
    Reference(repository='Qwen/Qwen-7B-Chat', revision='v1.1.9', file=None)
    """
    match = _REFERENCE.fullmatch(text)
    return Reference(**match.groupdict()) if match else None


def fetch_repository(reference: Reference, *, offline: bool | None = None) -> Path:
    """The local folder of a repository, or its one GGUF file, with the files that are needed to run the model.

    Asks the hub for the revision's files and downloads those that are not cached; where the hub does not answer, or
    offline, only the cache is used.
    """
    hub = _chosen_hub()
    if is_offline(offline):
        cached = _from_cache(hub, reference)
        if cached is None:
            raise DownloadError(
                f"{reference} is not in the cache ({hub.cache_folder()}) and qwen7b is offline: "
                "unset QWEN7B_OFFLINE and HF_HUB_OFFLINE, leave out --offline (offline=True), or give a local folder"
            )
        return cached
    try:
        entries = hub.list_files(reference)
    except DownloadError as error:
        cached = _from_cache(hub, reference)
        if cached is None:
            raise
        say(f"Using the copy of {reference} in the cache: {error}.")
        return cached
    files = _choose_files(reference, entries)
    missing = {name: entries[name].size for name in files if entries[name].local is None}
    folder = _folder_of(files[0], entries)
    if missing or folder is None:
        official = find_official(reference.repository)
        note = f" It is {official}." if official else ""
        say(f"Fetching {reference}: {counted(len(missing), 'file')}, {shown_size(sum(missing.values()))}.{note}")
        with storage_errors(hub.cache_folder(), variable=hub.CACHE_VARIABLE):
            check_disk_space(hub.cache_folder(), sum(missing.values()), variable=hub.CACHE_VARIABLE)
            folder = hub.download(reference, files)
    return folder / files[0] if is_gguf(files[0]) else folder


def continue_from_hub(
    source: HubFile, partial: Path, *, size: int, bar: AbstractContextManager[Callable[[int], None]]
) -> None:
    """Complete the file `partial`, continuing what is there. The bar opens once the hub has answered."""
    _chosen_hub().continue_file(source, partial, size=size, bar=bar)


def _chosen_hub() -> Hub:
    if hub_name() == "modelscope":
        if not find_spec("modelscope"):
            raise MissingExtraError("modelscope", extra="modelscope")
        from qwen7b.hub import modelscope

        return modelscope
    from qwen7b.hub import huggingface

    return huggingface


def _choose_files(reference: Reference, names: Mapping[str, HubEntry]) -> list[str]:
    """The names of the files that are needed to run the model; of a GGUF model, its file or all its parts."""
    ggufs = gguf_models(names)
    if reference.file:
        if reference.file in names:
            return next((files for files in ggufs.values() if reference.file in files), [reference.file])
        raise ModelNotFoundError(f"{reference} has no file {reference.file}{_suggest_ggufs(reference, ggufs)}")
    for pattern in _WEIGHTS_PATTERNS:
        weights = [name for name in names if fnmatchcase(name, pattern) and "/" not in name]
        if weights:
            settings = [name for name in names if any(fnmatchcase(name, kind) for kind in _SETTINGS_PATTERNS)]
            return weights + [name for name in settings if "/" not in name]
    if len(ggufs) == 1:
        return next(iter(ggufs.values()))
    if ggufs:
        raise ModelNotFoundError(f"{reference} holds several models{_suggest_ggufs(reference, ggufs)}")
    raise UnsupportedError(
        f"{reference} has no weights that qwen7b reads (safetensors, pytorch_model*.bin or GGUF): it has "
        f"{', '.join(sorted(names)) or 'no files'}; give another repository"
    )


def _suggest_ggufs(reference: Reference, ggufs: Iterable[str]) -> str:
    names = list(ggufs)
    return f": choose one, as in {reference}:{names[0]}, from {', '.join(names)}" if names else ": check the name"


def _folder_of(name: str, entries: Mapping[str, HubEntry]) -> Path | None:
    local = entries[name].local
    return local and local.parents[name.count("/")]


def _from_cache(hub: Hub, reference: Reference) -> Path | None:
    """A repository's folder or file in the cache; missing shards are noticed when the checkpoint is opened."""
    folder = hub.cached_snapshot(reference)
    if folder is None:
        return None
    if reference.file:
        file = folder / reference.file
        return file if file.exists() else None
    if any(path for pattern in _WEIGHTS_PATTERNS for path in folder.glob(pattern)):
        return folder
    ggufs = gguf_models(file.relative_to(folder).as_posix() for file in folder.rglob("*"))
    return folder / next(iter(ggufs)) if len(ggufs) == 1 else None
