"""A folder for one program, which is gone afterwards whatever the program left in it."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count


@contextmanager
def work_folder() -> Iterator[str]:
    """A new folder, as a path. Nothing may use it any more when the block ends."""
    folder = tempfile.mkdtemp(prefix="qwen7b-")
    try:
        yield folder
    finally:
        remove(folder)


def remove(folder: str) -> None:
    """Remove a folder and all in it, nested thousands of folders deep though it be, where recursion would not end.

    Each round removes the files of the uppermost folders and moves what is below them one up.
    """
    names = (f"{secrets.token_hex(8)}-{number}" for number in count())
    while entries := [*os.scandir(folder)]:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in [*os.scandir(entry.path)]:
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)  # moving a folder writes to it
                os.rename(inner.path, os.path.join(folder, next(names)))
            os.rmdir(entry.path)
    os.rmdir(folder)
