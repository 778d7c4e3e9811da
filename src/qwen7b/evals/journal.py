"""Results kept in a file as they come, a line of JSON each, so that long work goes on where it ended."""

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
_LIMIT = 1 << 28
"""Bytes of a journal, which are a million results."""
_TOO_LARGE = 1 << 53
"""The limit of a number in a result: those below it are whole as a float too."""


class Journal:
    """What is known of tasks; a task is told from others by all that its result depends on.

    The file is made with the first result; without a path nothing is kept. Several processes may add to one file, whose
    lines may end as on any system. A last line that a full disk or a lost process left unfinished is dropped. Raises
    SettingError for a file that cannot be written, or that is not a journal.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._results: dict[str, tuple[int, dict[str, Any]]] = {}  # each with its line's number, 0 if new
        if path is None:
            return
        there = os.path.lexists(path)  # a link to nowhere too, which then says so
        if not there and not os.access(path.parent, os.W_OK):
            raise SettingError(f"results cannot be kept in {path}: {path.parent} cannot be written")
        data = b""
        if there:
            with self._errors(), _held(path) as file:
                _end_last_line(file)
                data = read_whole(path, limit=_LIMIT)
        for number, line in enumerate(data.removeprefix(BOM_UTF8).splitlines(), start=1):
            try:
                entry = _entry(line)
                self._results[_name(entry["task"])] = number, dict(entry["result"])
            except (ValueError, TypeError):
                raise self._no_result(number) from None

    def find(self, task: Mapping[str, Any], kind: type[T]) -> T | None:
        """The task's result as the dataclass that it was. Raises SettingError where it is another or none."""
        if (entry := self._results.get(_name(task))) is None:
            return None
        number, result = entry
        right = {name: type(value) for name, value in result.items()} == get_type_hints(kind)
        if not right or not all(isinstance(value, str) or 0 <= value < _TOO_LARGE for value in result.values()):
            raise self._no_result(number)
        return kind(**result)

    def add(self, task: Mapping[str, Any], result: DataclassInstance) -> None:
        """Keep a result, a dataclass of strings and of numbers from 0. Raises SettingError where that is impossible."""
        fields = asdict(result)
        if self._path is not None:
            with self._errors(), _held(self._path) as file:
                _end_last_line(file)  # another process may have been lost meanwhile
                file.write(json.dumps({"task": task, "result": fields}).encode() + b"\n")
        self._results[_name(task)] = 0, fields

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SettingError(f"results cannot be kept in {self._path}: {error.strerror or error}") from error

    def _no_result(self, number: int) -> SettingError:
        return SettingError(
            f"line {number} of {self._path} is cut short or no result of qwen7b: delete that line, or keep results in "
            "another file"
        )


@contextmanager
def _held(path: Path) -> Iterator[BinaryIO]:
    """The file to read and append to, where the system can with no other process at it."""
    with open_to_append(path) as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        yield file


def _end_last_line(file: BinaryIO) -> None:
    """Give a last line its end, or drop it if it is the beginning of a result."""
    size = file.seek(0, os.SEEK_END)
    if size > _LIMIT:
        raise OSError(errno.EFBIG, f"it has more than {_LIMIT:,} bytes")
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
    """The task and result of a line. Raises ValueError or TypeError for any other line."""
    try:
        entry = json.loads(line.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError(line) from error
    if not isinstance(entry, dict) or entry.keys() != {"task", "result"}:
        raise ValueError(line)
    return entry


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity, which JSON does not know."""
    raise ValueError(name)


def _name(task: Mapping[str, Any]) -> str:
    return json.dumps(task, sort_keys=True)
