"""The files in a session's folder, seen from outside: links that a program left there are not followed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import PurePosixPath

from qwen7b.errors import SandboxError, quoted

State = tuple[int, int, int]
"""What is different once a file was written: its number, size and time of change."""


def list_files(folder: str) -> dict[str, State]:
    """The regular files in a folder by their names in it; without hidden ones, and what Python keeps of modules."""
    files, pending = {}, [folder]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__pycache__":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    files[os.path.relpath(entry.path, folder)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return files


def read_file(folder: str, name: str) -> bytes:
    """Read a regular file. Raises SandboxError where there is none of that name."""
    try:
        place = _open(folder, name, os.O_RDONLY | os.O_NONBLOCK, user=None)
        with open(place, "rb") as file:
            if stat.S_ISREG(os.fstat(place).st_mode):
                return file.read()
    except OSError as error:
        raise SandboxError(f"the session has no file {quoted(name)}: {error.strerror}") from None
    raise SandboxError(f"{quoted(name)} is no regular file of the session")


def write_file(folder: str, name: str, data: bytes, *, user: int | None) -> None:
    """Write a file, and the folders that it lies in, in place of one of that name; they belong to `user`."""
    try:
        place = _open(folder, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, user=user)
        with open(place, "wb") as file:
            file.write(data)
    except OSError as error:
        raise SandboxError(f"the session cannot take a file {quoted(name)}: {error.strerror}") from None


def _open(folder: str, name: str, flags: int, *, user: int | None) -> int:
    """Open a file by its name, each folder on the way by its own: a link is an error."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise SandboxError(f"a file of a session has a name inside its folder, found {quoted(name)}")
    create = bool(flags & os.O_CREAT)
    place = os.open(folder, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.parts[:-1]:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=place)
                    if user is not None:
                        os.chown(part, user, user, dir_fd=place, follow_symlinks=False)
            below = os.open(part, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = below
        if create:
            with suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=place)
        file = os.open(path.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=place)
        if create and user is not None:
            os.fchown(file, user, user)
        return file
    finally:
        os.close(place)
