"""A folder of small files of tensors, of bounded size: the longest unused go. Other processes may use it, too."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from qwen7b.errors import CheckpointError, Qwen7bError
from qwen7b.files.checksums import read_checked, write_checked
from qwen7b.files.stored import file_size
from qwen7b.system.progress import say
from qwen7b.system.whole_file import PART_SUFFIX, written_whole

_SUFFIX = ".safetensors"
_OURS = re.compile(rf"[0-9a-f]{{64}}{re.escape(_SUFFIX)}")
_LONG_AGO = 3600.0
"""Seconds after which an unfinished file was given up."""
_LEFT = 0.9
"""The share of the limit that is left when some go, so that this is not to be done again at once."""


class TensorFolder:
    """Tensors by name, of at most `max_bytes`; a name is 64 hexadecimal digits. Nobody but the user may read them.

    What is damaged is removed, and is as if it had never been there.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Raises OSError where there is no such folder and it cannot be made."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self.max_bytes = max_bytes
        self._num_bytes: int | None = None
        """Those found at the last look, and those written since; None before it."""

    def __contains__(self, name: str) -> bool:
        return os.path.exists(self._file(name))  # Path.exists raises where the folder may not be searched

    def read(self, name: str, *, max_bytes: int) -> dict[str, Tensor] | None:
        """The tensors of that name; None where there are none, or where their file is larger than it should be."""
        if name not in self:
            return None
        try:
            if (size := file_size(self._file(name))) > max_bytes:  # told before memory is allocated
                raise CheckpointError(f"it has {size} bytes, more than {max_bytes}")
            return read_checked(self._file(name))
        except Qwen7bError as error:
            if name in self:  # else another process has just removed it
                self.remove(name, reason=str(error))
            return None

    def remove(self, name: str, *, reason: str) -> None:
        """Remove tensors that are no good, and say so."""
        say(f"{self._file(name)} is removed and will be made again: {reason}.")
        with suppress(OSError):
            self._file(name).unlink()

    def write(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Add tensors on the CPU. Raises OSError."""
        with written_whole(self._file(name), durable=False, private=True) as partial:  # damage is noticed
            write_checked(partial, tensors)
        self._num_bytes = None if self._num_bytes is None else self._num_bytes + self._file(name).stat().st_size

    def touch(self, names: Sequence[str]) -> None:
        """Note that tensors are used: of those that go together the last ones will be removed first."""
        now = time.time_ns()
        for number, name in enumerate(names):
            with suppress(OSError):
                os.utime(self._file(name), ns=(now, now - number))

    def make_room(self) -> None:
        """Remove the longest unused where there is too much, and what lost processes left unfinished."""
        if self._num_bytes is not None and self._num_bytes <= self.max_bytes:
            return
        files = []
        for entry in [*os.scandir(self.path)]:
            with suppress(FileNotFoundError):  # another process has removed it
                stat = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    continue  # whatever its name
                if _OURS.fullmatch(entry.name):
                    files.append((stat.st_mtime_ns, stat.st_size, entry.path))
                elif entry.name.endswith(PART_SUFFIX) and time.time() - stat.st_mtime > _LONG_AGO:
                    os.unlink(entry)
        self._num_bytes = sum(size for _, size, _ in files)
        limit = self.max_bytes if self._num_bytes <= self.max_bytes else _LEFT * self.max_bytes
        for _, size, path in sorted(files):
            if self._num_bytes <= limit:
                return
            Path(path).unlink(missing_ok=True)
            self._num_bytes -= size

    def _file(self, name: str) -> Path:
        return self.path / f"{name}{_SUFFIX}"
