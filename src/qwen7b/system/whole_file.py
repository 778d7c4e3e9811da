"""Output files and folders that appear under their name complete or not at all, even while others write the same."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART_SUFFIX = ".part"
"""The suffix of unfinished files."""


@contextmanager
def written_whole(path: Path, *, durable: bool = True, private: bool = False) -> Iterator[Path]:
    """Yield the path of an empty file beside `path` to write to; it replaces `path` when the block ends.

    After an exception, such as a full disk's or an interrupt, `path` is unchanged and nothing is left beside it. A link
    stays a link, and a file keeps its permissions; a new one is the user's alone where it is `private`. One that is not
    `durable` is written without waiting for the disk, so that a power cut may damage it. Raises OSError, also for a
    write-protected or irregular file.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    exists = path.exists()
    if exists and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if exists and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    partial = path.with_name(f".{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        mode = 0o600 if private else 0o666  # less the user's umask
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        if exists:
            shutil.copymode(path, partial)
        yield partial
        if durable:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())  # or a power cut could leave an empty file of that name
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_text_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8. Raises OSError, and ValueError for a name or a text that cannot be encoded."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def written_folder(folder: Path) -> Iterator[Path]:
    """Yield the path of an empty folder beside `folder` to fill; it becomes `folder` when the block ends.

    After an exception nothing is left. Raises OSError, also where something of that name is there already.
    """
    folder = Path(os.path.realpath(folder))
    if os.path.lexists(folder):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
    partial = folder.with_name(f".{secrets.token_hex(8)}{PART_SUFFIX}")
    partial.mkdir()
    try:
        yield partial
        sync_folder(partial)
        os.rename(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until all files of a folder are on the disk, or a power cut could leave empty ones of these names."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb+") as file:
                os.fsync(file.fileno())
