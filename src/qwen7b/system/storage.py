"""Files in the cache: locks, disk space, and hashes that were verified. Knows no model and no network."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qwen7b.errors import CheckpointError, ResourceError
from qwen7b.system.progress import say
from qwen7b.system.regular_file import SMALL_FILE_LIMIT, read_text
from qwen7b.system.whole_file import write_text_whole


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Bytes in a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def is_whole(path: Path, *, size: int, sha256: str) -> bool:
    """Whether the file is there with that size and hash.

    A marker file beside it keeps the result with the file's size and time: an unchanged file is not read again.
    """
    if size_of(path) != size:
        return False
    marker, stamp = _marker(path), _stamp(path, sha256)
    with suppress(OSError, UnicodeDecodeError, CheckpointError):
        if read_text(marker, limit=SMALL_FILE_LIMIT) == stamp:
            return True
    if sha256_of(path) != sha256:
        return False
    with suppress(OSError):  # a read-only cache does without a marker
        write_text_whole(marker, stamp)
    return True


def put_in_place(partial: Path, path: Path, *, sha256: str) -> None:
    """Give a verified file its final name, atomically and durably."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())  # or a power cut could leave an empty file of that name
    os.replace(partial, path)
    write_text_whole(_marker(path), _stamp(path, sha256))


def set_aside(path: Path) -> None:
    """Rename a damaged file, so that nothing takes it for a whole one."""
    aside = path.with_name(path.name + ".damaged")
    os.replace(path, aside)
    say(f"{path} was damaged and is fetched again: the damaged file is now {aside.name}, which you may delete.")


@contextmanager
def only_one_process(folder: Path, *, what: str, doing: str = "fetching") -> Iterator[None]:
    """Hold the folder's lock; while another process holds it, say so and wait."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"Another process is {doing} {what}: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def refusing_others(folder: Path, *, doing: str) -> Iterator[None]:
    """Hold the folder's lock. Raises ResourceError, with what is being done, while another process holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ResourceError(f"another process is {doing}: wait for it or stop it") from None
    try:
        yield
    finally:
        lock.release()


def check_disk_space(folder: Path, needed: int, *, variable: str | None = None) -> None:
    """Raise ResourceError unless `needed` bytes fit into a folder, which need not exist yet.

    `variable` is the environment variable that sets the folder; None where the user has named the folder itself.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise ResourceError(
            f"not enough disk space: {needed:,} bytes are needed in {folder} and {free:,} are free; "
            f"make room there or {f'set {variable} to a folder' if variable else 'choose a target'} on another disk"
        )


def is_full(error: OSError) -> bool:
    """Whether a file could not be written because the disk or the user's quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def storage_errors(folder: Path, *, variable: str | None) -> Iterator[None]:
    """Turn the system's errors about files into ResourceError; `variable` as for `check_disk_space`."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            what = f"the disk that holds {folder} is full: make room there"
        else:
            what = f"cannot write to {folder} ({error.strerror or error}): make it writable"
        way_out = f"set {variable} to another folder" if variable else "choose another folder"
        raise ResourceError(f"{what} or {way_out}") from error


def _marker(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _stamp(path: Path, sha256: str) -> str:
    stat = path.stat()
    return json.dumps({"sha256": sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns})
