"""A file of JSON lines that grows while its process holds it, so that work that was cut off can be resumed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import Any, Self

from qwen7b.errors import SettingError
from qwen7b.system.regular_file import open_to_append
from qwen7b.system.signals import interrupts_deferred
from qwen7b.system.whole_file import written_whole

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_MAX_LINE = 1 << 28
"""The longest line, in bytes."""


class AppendedLines:
    """Adds objects to a file, a line each, written whole; `noun` says in messages what they are.

    Raises SettingError where the file cannot be written, or is being written by another process.
    """

    def __init__(self, path: Path, *, noun: str) -> None:
        self.path = path
        self.noun = noun
        with self._errors():
            self._file = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what could not be written was raised by `add`
            self._file.close()

    def add(self, value: Mapping[str, Any]) -> None:
        """Add an object as a line. A lone surrogate, which JSON has no UTF-8 for, is escaped."""
        data = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with interrupts_deferred(), self._errors():
            self._file.write(data)
            self._file.flush()

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line with its number, its end included; only one that was cut off has none."""
        with self._errors():
            self._file.seek(0)
            for number in itertools.count(1):
                if not (line := self._file.readline(_MAX_LINE)):
                    return
                yield number, line

    def replace(self, lines: Iterable[bytes]) -> None:
        """Make these all that the file has; they may come from `lines`."""
        with self._errors():
            with written_whole(self.path) as partial, partial.open("wb") as copy:
                copy.writelines(lines)
            self._file.close()
            self._file = self._open()

    def _open(self) -> BufferedRandom:
        file = open_to_append(self.path)
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed
            except BlockingIOError:
                file.close()
                raise SettingError(
                    f"{self.path} is being written by another process: wait for it, or choose another file"
                ) from None
        return file

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SettingError(f"{self.noun} cannot be kept in {self.path}: {error.strerror or error}") from error
