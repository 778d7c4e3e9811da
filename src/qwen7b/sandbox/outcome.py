"""What became of a program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["passed", "failed", "timed out", "out of memory", "out of disk", "too much output"]
CellStatus: TypeAlias = Literal[
    "done", "error", "timed out", "out of memory", "out of disk", "too much output", "ended"
]
Protection: TypeAlias = Literal["bubblewrap", "landlock", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramOutcome:
    """How a program ended, and what it wrote."""

    status: Status
    """"passed" means: the check ran to its end, or where there was none the program exited with 0."""
    exit_code: int | None
    """The program's own; a signal that ended it is negative; None where it was killed, as after its check."""
    stdout: str
    stderr: str
    """Both as UTF-8, with U+FFFD for what is none, and no longer than the limit. A failed check says here why."""
    seconds: float
    protection: Protection

    @property
    def passed(self) -> bool:
        return self.status == "passed"


@dataclass(frozen=True, kw_only=True, slots=True)
class CellOutcome:
    """What became of a cell of a session. All of it is the program's own word, but for status, seconds and notice."""

    status: CellStatus
    """"done" and "error", which is an exception, leave the session as it is; all others end its process."""
    stdout: str
    stderr: str
    value: str | None
    """The last expression's value as `repr` has it; None where there is none, or the value is None."""
    error: str | None
    """The traceback of an exception."""
    figures: tuple[Path, ...]
    """PNG files, in a folder that the program cannot see."""
    files: tuple[str, ...]
    """Files that the cell made or changed, by their names in the session's folder."""
    notice: str | None
    """Why variables were lost, before this cell or with it: a sentence."""
    seconds: float
