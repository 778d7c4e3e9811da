"""The log of a run: a JSON object a line, the same bytes in every run of a recipe, however often it was stopped.

What differs from run to run, as time does, is in a file of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from qwen7b.errors import CheckpointError
from qwen7b.system.storage import storage_errors


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """What a step did."""

    step: int
    """Counted from 1."""
    loss: float
    """The mean over the step's terms, before the step: in nats a target, or a pair."""
    grad_norm: float
    """Before it was cut down."""
    learning_rate: float
    tokens: int
    targets: int
    skipped: bool = False
    """Whether it was a spike, which changed nothing."""
    logged: Mapping[str, float] = field(default_factory=dict)
    """Means of what else its objective measures, by name."""

    def entry(self) -> dict[str, object]:
        """The step as the log has it."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name not in ("skipped", "logged")}
        fields |= self.logged
        return {**fields, "skipped": True} if self.skipped else fields


class RunLog:
    """A log that is cut back to where a saved step left it, and grows from there."""

    def __init__(self, path: Path, *, num_bytes: int = 0) -> None:
        """Raises CheckpointError where the log is shorter than the saved step says."""
        self.path = path
        with storage_errors(path.parent, variable=None):
            self._file = path.open("ab")
            if self._file.tell() < num_bytes:
                self._file.close()
                raise CheckpointError(
                    f"{path} has {path.stat().st_size} bytes, but the saved step was made after {num_bytes}: put back "
                    "the log that belongs to it, or start anew in another folder"
                )
            self._file.truncate(num_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, entry: Mapping[str, Any]) -> None:
        with storage_errors(self.path.parent, variable=None):
            self._file.write(json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
            self._file.flush()

    def close(self) -> None:
        with storage_errors(self.path.parent, variable=None):  # of what could not be written, which it tries again
            self._file.close()

    def sync(self) -> int:
        """Wait until the disk has the log, and return its length in bytes."""
        with storage_errors(self.path.parent, variable=None):
            os.fsync(self._file.fileno())
            return self._file.tell()


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a log; a last line that was cut off is left out. Raises CheckpointError for other damage."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                raise CheckpointError(f"{path}, line {number}, is no JSON object: the log is damaged")
            yield entry
