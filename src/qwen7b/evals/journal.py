"""Results kept in a file as they come, a line of JSON each, so that long work goes on where it ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_type_hints

from qwen7b.errors import SettingError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
_BEGINNING = '{"task": '


class Journal:
    """What is known of tasks; a task is told from others by all that its result depends on.

    The file is made with the first result; without a path nothing is kept. A last line that a full disk or a lost
    process left unfinished is dropped. Raises SettingError for a file that cannot be written, or that is not a journal.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._results: dict[str, tuple[int, dict[str, Any]]] = {}  # each with its line's number, 0 if new
        if path is None:
            return
        there = path.exists()
        if there and not path.is_file():
            raise SettingError(f"results cannot be kept in {path}: it is no regular file")
        try:
            text = path.read_text("utf-8") if there else ""
            lines = text.splitlines(keepends=True)
            if lines and not lines[-1].endswith("\n") and lines[-1].startswith(_BEGINNING[: len(lines[-1])]):
                os.truncate(path, len(text.encode()) - len(lines.pop().encode()))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"results cannot be kept in {path}: {error}") from error
        if not os.access(path if there else path.parent, os.W_OK):
            raise SettingError(f"results cannot be kept in {path}: {'it' if there else path.parent} cannot be written")
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line, parse_constant=_refuse_constant)
                if entry.keys() != {"task", "result"} or not line.endswith("\n"):
                    raise ValueError(line)
                self._results[_name(entry["task"])] = number, dict(entry["result"])
            except (ValueError, TypeError, AttributeError):
                raise self._no_result(number) from None

    def find(self, task: Mapping[str, Any], kind: type[T]) -> T | None:
        """The task's result as the dataclass that it was. Raises SettingError where it is another or none."""
        if (entry := self._results.get(_name(task))) is None:
            return None
        number, result = entry
        if {name: type(value) for name, value in result.items()} != get_type_hints(kind):
            raise self._no_result(number)
        return kind(**result)

    def add(self, task: Mapping[str, Any], result: DataclassInstance) -> None:
        """Keep a result, a dataclass of numbers and strings. Raises SettingError where it cannot be written."""
        fields = asdict(result)
        if self._path is not None:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"task": task, "result": fields}) + "\n")
            except OSError as error:
                raise SettingError(f"results cannot be kept in {self._path}: {error}") from error
        self._results[_name(task)] = 0, fields

    def _no_result(self, number: int) -> SettingError:
        return SettingError(
            f"line {number} of {self._path} is cut short or no result of qwen7b: delete that line, or keep results in "
            "another file"
        )


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity, which JSON does not know."""
    raise ValueError(name)


def _name(task: Mapping[str, Any]) -> str:
    return json.dumps(task, sort_keys=True)
