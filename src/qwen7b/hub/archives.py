"""Files out of archives from the internet: only those that are asked for, and only into memory."""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from qwen7b.errors import DownloadError

MAX_BYTES = 1 << 28
"""The most that the files of one archive may have together, unpacked."""


def read_archive(path: Path, pattern: re.Pattern[str]) -> dict[str, bytes]:
    """The files of a .zip or .tar whose whole names match, by what the pattern's first group finds in them.

    Raises DownloadError for a damaged archive, for a link under such a name, and for more than `MAX_BYTES`.
    """
    files: dict[str, bytes] = {}
    left = MAX_BYTES
    try:
        members = _zip_members(path, pattern) if zipfile.is_zipfile(path) else _tar_members(path, pattern)
        for name, read in members:
            files[name] = data = read(left + 1)
            left -= len(data)
            if left < 0:
                raise DownloadError(f"the files in {path.name} have more than {MAX_BYTES:,} bytes")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DownloadError(f"{path.name} is damaged: {error}") from error
    return files


def _zip_members(path: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if match := pattern.fullmatch(member.filename):
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise _link_error(path, member.filename)
                with archive.open(member) as file:
                    yield match[1], file.read


def _tar_members(path: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            if match := pattern.fullmatch(member.name):
                if not member.isreg():
                    raise _link_error(path, member.name)
                file = archive.extractfile(member)
                assert file is not None
                yield match[1], file.read


def _link_error(path: Path, name: str) -> DownloadError:
    return DownloadError(f"{path.name} has {name!r} as a link or a device instead of a file: it is not used")
