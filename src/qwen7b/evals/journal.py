"""Results that are saved in a file one by one, a line of JSON each, so that long work can be resumed."""

from __future__ import annotations

import errno
import json
import os
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeVar, get_type_hints

from qwen7b.errors import SettingError
from qwen7b.system.regular_file import open_to_append, read_whole

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
_BEGINNING = b'{"task": '
_MAX_BYTES = 1 << 28
"""The most bytes that a journal may have, enough for a million results."""
_NUMBER_LIMIT = 1 << 53
"""The limit of a number in a result: integers below it are exact as a float too."""


class Journal:
    """The results of tasks; a task is identified by everything that its result depends on.

    The file is created with the first result; without a path nothing is saved. Several processes may add to one file,
    and any line endings are accepted. An incomplete last line, from a full disk or a killed process, is dropped. Raises
    SettingError for a file that cannot be written, or that is not a journal.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._results: dict[str, tuple[int, dict[str, Any]]] = {}  # each with its line number, 0 for a new one
        if path is None:
            return
        exists = os.path.lexists(path)  # also for a dangling link, which then fails to open
        if not exists and not os.access(path.parent, os.W_OK):
            raise SettingError(f"results cannot be kept in {path}: {path.parent} cannot be written")
        data = b""
        if exists:
            with self._errors(), _locked(path) as file:
                _complete_last_line(file)
                data = read_whole(path, limit=_MAX_BYTES)
        for number, line in enumerate(data.removeprefix(BOM_UTF8).splitlines(), start=1):
            try:
                entry = _entry(line)
                self._results[_key(entry["task"])] = number, dict(entry["result"])
            except (ValueError, TypeError):
                raise self._bad_line_error(number) from None

    def find(self, task: Mapping[str, Any], kind: type[T]) -> T | None:
        """The task's result as a `kind`, or None if there is none. Raises SettingError if the line has another form."""
        if (entry := self._results.get(_key(task))) is None:
            return None
        number, result = entry
        has_types = {name: type(value) for name, value in result.items()} == get_type_hints(kind)
        if not has_types or not all(isinstance(value, str) or 0 <= value < _NUMBER_LIMIT for value in result.values()):
            raise self._bad_line_error(number)
        return kind(**result)

    def add(self, task: Mapping[str, Any], result: DataclassInstance) -> None:
        """Save a result, a dataclass of strings and non-negative numbers. Raises SettingError if that fails."""
        fields = asdict(result)
        if self._path is not None:
            with self._errors(), _locked(self._path) as file:
                _complete_last_line(file)  # another process may have died while writing
                file.write(json.dumps({"task": task, "result": fields}).encode() + b"\n")
        self._results[_key(task)] = 0, fields

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SettingError(f"results cannot be kept in {self._path}: {error.strerror or error}") from error

    def _bad_line_error(self, number: int) -> SettingError:
        return SettingError(
            f"line {number} of {self._path} is incomplete or not a result of qwen7b: delete that line, or choose "
            "another file"
        )


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Open the file to read and append, with an exclusive lock where the system has locks."""
    with open_to_append(path) as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        yield file


def _complete_last_line(file: BinaryIO) -> None:
    """Add a missing line end to the last line, or drop the line if it is an incomplete result."""
    size = file.seek(0, os.SEEK_END)
    if size > _MAX_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {_MAX_BYTES:,} bytes")
    file.seek(max(size - 1, 0))
    if file.read(1) in (b"", b"\n", b"\r"):
        return
    file.seek(0)
    data = file.read()
    lines = data.splitlines(keepends=True)
    last = lines[-1].removeprefix(BOM_UTF8)
    try:
        _entry(last)
    except (ValueError, TypeError):
        if last.startswith(_BEGINNING[: len(last)]):
            file.truncate(len(data) - len(lines[-1]))
    else:
        file.write(b"\n")


def _entry(line: bytes) -> dict[str, Any]:
    """Parse the task and result of a line. Raises ValueError or TypeError for any other line."""
    try:
        entry = json.loads(line.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError(line) from error
    if not isinstance(entry, dict) or entry.keys() != {"task", "result"}:
        raise ValueError(line)
    return entry


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(name)


def _key(task: Mapping[str, Any]) -> str:
    return json.dumps(task, sort_keys=True)
