"""Opens untrusted files: only regular ones, and reads them whole only up to a size limit.

A pipe would block for ever, and a device such as /dev/zero has no end. Symbolic links to regular files are followed, as
the hubs' caches are made of them.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from io import BufferedRandom, BufferedReader, FileIO
from pathlib import Path

from qwen7b.errors import CheckpointError, ModelNotFoundError, SettingError, quoted

SMALL_FILE_LIMIT = 1 << 24
"""The size limit, in bytes, of a checkpoint's licence, template or code; real ones are far smaller."""
TEXT_LIMIT = 1 << 30
"""The size limit, in bytes, of a text file that a user names."""

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_LIMIT = 1024  # bytes, by https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def existing_path(path: str | os.PathLike[str]) -> Path:
    """Check that a path names an existing file or folder.

    Raises SettingError for what is no path, ModelNotFoundError where nothing is there, CheckpointError for a pipe,
    a device or a socket.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise SettingError(f"a file or folder should be named by a string or a path, found {quoted(path)}")
    path = Path(path)
    # os.path.exists, as Path.exists raises OSError for a name that is too long.
    if not os.path.exists(path):
        raise ModelNotFoundError(f"there is no file or folder {path}: check the path")
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise CheckpointError(f"{path} is neither a file nor a folder, but a pipe or a device: copy it to a file")
    return path


def open_regular(path: str | os.PathLike[str]) -> FileIO:
    """Open a file for reading bytes, without a buffer.

    Raises OSError, with a reason for the user, where it is missing or not regular, and CheckpointError where it is only
    a Git LFS pointer.
    """
    try:
        _check_regular(os.stat(path))  # before it is opened, as merely opening some devices has effects
        file = FileIO(path, "rb", opener=_open_without_waiting)
    except ValueError as error:  # a name with a null byte
        raise OSError(errno.EINVAL, "no file can have that name", os.fspath(path)) from error
    _refuse_pointer(file)
    return file


def open_to_append(path: str | os.PathLike[str]) -> BufferedRandom:
    """Open a file for reading and appending; create it where there is none. Raises OSError as `open_regular` does."""
    with suppress(FileNotFoundError):
        _check_regular(os.stat(path))
    return BufferedRandom(FileIO(path, "ab+", opener=_open_without_waiting))


def read_whole(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """All bytes of a file. Raises OSError where it cannot be read or has more than `limit` bytes."""
    with BufferedReader(open_regular(path)) as file:
        data = file.read(limit + 1)
    if data is None:  # some files in /proc, opened without waiting
        raise OSError(errno.EAGAIN, "it has nothing to read now", os.fspath(path))
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes", os.fspath(path))
    return data


def read_text(path: str | os.PathLike[str], *, limit: int = TEXT_LIMIT) -> str:
    """The text of a UTF-8 file, with \\n as line ends and without a byte order mark.

    Raises OSError as `read_whole` does, or UnicodeDecodeError.
    """
    text = read_whole(path, limit=limit).decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def folder_names(folder: Path) -> list[str]:
    """The names in a checkpoint's folder, sorted. Raises CheckpointError where it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be listed: {error.strerror or error}") from error


def checkpoint_bytes(path: Path, *, limit: int) -> bytes:
    """All bytes of a checkpoint's file. Raises CheckpointError where it cannot be read."""
    try:
        return read_whole(path, limit=limit)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def checkpoint_text(path: Path, *, limit: int) -> str:
    """A checkpoint's text file. Raises CheckpointError where it cannot be read or is not UTF-8."""
    try:
        return read_text(path, limit=limit)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is damaged: {error}; download it again") from error


def _refuse_pointer(file: FileIO) -> None:
    """Raise CheckpointError where a file is a pointer, which a clone without Git LFS has for each large file."""
    if os.fstat(file.fileno()).st_size < _LFS_POINTER_LIMIT:
        is_pointer = file.read(len(_LFS_POINTER)) == _LFS_POINTER
        file.seek(0)
        if is_pointer:
            file.close()
            path = Path(os.fsdecode(file.name))
            raise CheckpointError(
                f"{path} is a Git LFS pointer, not the file itself: run 'git lfs pull' in {path.parent}, or download "
                "the file"
            )


def named_text(path: str | os.PathLike[str], *, option: str = "") -> str:
    """The text of a file that a user names, perhaps by an option.

    Raises SettingError where it cannot be opened or is not UTF-8.
    """
    label = f"{option} {os.fspath(path)}".strip()
    try:
        return read_text(path)
    except OSError as error:
        raise SettingError(f"{label} {_hindrance(error)}") from error
    except UnicodeDecodeError as error:
        raise SettingError(
            f"{label} cannot be read as UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}; "
            "convert it first, for example with iconv -f GB18030 -t UTF-8"
        ) from error


def _hindrance(error: OSError) -> str:
    """What is wrong with a file that cannot be read, as the rest of a sentence about it."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "does not exist: check the path"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "is closed to you: ask for the permission to read it"
    reason = error.strerror or str(error)
    return reason.removeprefix("it ") if reason.startswith("it ") else f"cannot be read: {reason}"


def _open_without_waiting(path: str, flags: int) -> int:
    """Open as `os.open` does, but refuse a pipe that has replaced the file meanwhile, instead of waiting for it."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)  # less the user's umask
    try:
        _check_regular(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file")
