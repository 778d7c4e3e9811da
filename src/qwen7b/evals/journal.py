"""Results kept in a file as they come, a line of JSON each, so that long work goes on where it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qwen7b.errors import SettingError


class Journal:
    """What is known of tasks; a task is told from others by all that its result depends on.

    Without a path nothing is kept. Raises SettingError for a file that cannot be written, or that is not a journal.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._results: dict[str, Any] = {}
        if path is None:
            return
        try:
            path.touch()
            lines = path.read_text("utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"results cannot be kept in {path}: {error}") from error
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                if entry.keys() != {"task", "result"} or not line.endswith("\n"):
                    raise ValueError(line)
                self._results[_name(entry["task"])] = dict(entry["result"])
            except (ValueError, TypeError, AttributeError):
                raise SettingError(
                    f"line {number} of {path} is cut short or no result of qwen7b: delete that line, or keep results "
                    "in another file"
                ) from None

    def find(self, task: Mapping[str, Any]) -> dict[str, Any] | None:
        return self._results.get(_name(task))

    def add(self, task: Mapping[str, Any], result: dict[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"task": task, "result": result}, ensure_ascii=False) + "\n")
        self._results[_name(task)] = result


def _name(task: Mapping[str, Any]) -> str:
    return json.dumps(task, sort_keys=True)
