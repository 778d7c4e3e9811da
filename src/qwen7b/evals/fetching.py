"""A benchmark's official files from their public home into a folder, checked and whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from qwen7b.errors import DownloadError, SettingError, counted
from qwen7b.hub.archives import read_archive
from qwen7b.hub.huggingface import endpoint
from qwen7b.hub.streaming import continue_stream
from qwen7b.system.environment import is_offline
from qwen7b.system.progress import progress_bar, say
from qwen7b.system.storage import only_one_process, sha256_of, size_of, storage_errors
from qwen7b.system.whole_file import PART_SUFFIX, written_whole
from qwen7b.tasks.homes import CSV_IN_ARCHIVE, HOMES, PublicFile, home_of

_HUGGING_FACE = "https://huggingface.co"


def fetch_benchmark(name: str, folder: Path | None = None, *, offline: bool | None = None) -> Path:
    """The folder of a benchmark's official files, fetched from their public home; by default one in the cache.

    `name` is a task's, or "wmt22". An interrupted download is continued by the next call. A file that is there already
    stays, and must be the same. Raises SettingError for an unknown name and for another file in the way, DownloadError
    where the home cannot be reached, or sends something else.
    """
    home = HOMES.get(name) or home_of(name)
    if home is None:
        raise SettingError(
            f"there is no public home of {name!r} to fetch from: choose {', '.join(HOMES)}; docs/tools.md says where "
            "others come from"
        )
    if is_offline(offline):
        raise DownloadError(
            f"{name} is not fetched, as qwen7b is offline: unset QWEN7B_OFFLINE and HF_HUB_OFFLINE, or leave out "
            "--offline (offline=True)"
        )
    variable = "QWEN7B_CACHE" if folder is None else None
    folder = folder or home.default_folder()
    with storage_errors(folder, variable=variable):
        folder.mkdir(parents=True, exist_ok=True)
        with only_one_process(folder, what=name):
            try:
                contents = {name: data for file in home.files for name, data in _fetched(file, folder).items()}
            except DownloadError as error:
                raise DownloadError(f"{error}: try again later, or {home.by_hand()} in {folder}") from error
            _write(folder, contents)
    say(f"{counted(len(contents), 'file')} of {home.name} in {folder}.")
    return folder


def _fetched(file: PublicFile, folder: Path) -> dict[str, bytes]:
    """What a public file has for the folder, by its names there."""
    path = folder / f".{file.address.rpartition('/')[2]}{PART_SUFFIX}"
    was_begun = size_of(path) > 0
    _download(file.address, path)
    try:
        contents = _contents(file, path)
    except DownloadError:
        path.unlink()
        if was_begun:  # the bytes of an earlier run may be wrong
            return _fetched(file, folder)
        raise
    path.unlink()
    return contents


def _download(address: str, path: Path) -> None:
    url = address
    if address.startswith(f"{_HUGGING_FACE}/"):
        url = endpoint() + address.removeprefix(_HUGGING_FACE)
    with ExitStack() as bars:
        report: list[Callable[[int], None]] = []

        def begin(size: int | None) -> Callable[[int], None]:
            if not report:  # it stays while the server is asked again
                bar = progress_bar(address, total=size or 0, done=size_of(path))
                report.append(bars.enter_context(bar))
            return report[0]

        continue_stream(url, path, begin=begin)


def _contents(file: PublicFile, path: Path) -> dict[str, bytes]:
    if file.sha256 not in (None, sha256 := sha256_of(path)):
        raise DownloadError(f"{file.address} sent a file with sha256 {sha256} instead of {file.sha256}")
    if not file.name:
        contents = read_archive(path, CSV_IN_ARCHIVE)
        if not contents:
            raise DownloadError(f"{file.address} has no tables such as test/….csv: unpack it by hand")
        return contents
    data = path.read_bytes()
    if file.is_collapsed:
        lines = data.decode().removesuffix("\n").split("\n")
        data = "".join(re.sub(r"\s+", " ", line.strip()) + "\n" for line in lines).encode()
    return {file.name: data}


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files that are not there. Raises SettingError, before any is written, where another is in the way."""
    missing = {folder / name: data for name, data in contents.items() if not (folder / name).exists()}
    for name, data in contents.items():
        path = folder / name
        if path not in missing and path.read_bytes() != data:
            raise SettingError(f"{path} is another file than the one from its public home: choose another folder")
    for path, data in missing.items():
        path.parent.mkdir(exist_ok=True)
        with written_whole(path) as partial:
            partial.write_bytes(data)
