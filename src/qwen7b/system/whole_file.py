"""Output files that appear under their name whole or not at all, whoever else writes there at the same time."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART_SUFFIX = ".part"
"""How the names of unfinished files end."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield the name of an empty file beside `path` to write to; it takes `path`'s place when the block ends.

    After an exception, a full disk's or an interrupt, what was at `path` is as it was and nothing lies beside it. A
    link stays a link, and a file keeps its permissions; one that is write-protected or not regular is refused. Raises
    OSError.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    there = path.exists()
    if there and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if there and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    partial = path.with_name(f".{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less the user's umask
        if there:
            shutil.copymode(path, partial)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # or a power cut could leave the name with nothing behind it
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_text_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8. Raises OSError, and ValueError for a name or a text that cannot be encoded."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
