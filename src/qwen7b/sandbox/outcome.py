"""What became of a program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["passed", "failed", "timed out", "out of memory", "out of disk", "too much output"]
Protection: TypeAlias = Literal["bubblewrap", "landlock", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramOutcome:
    """How a program ended, and what it wrote."""

    status: Status
    """"passed" means: the check ran to its end, or where there was none the program exited with 0."""
    exit_code: int | None
    """The program's own; a signal that ended it is negative; None where it was killed when it was over."""
    stdout: str
    stderr: str
    """Both as UTF-8, with U+FFFD for what is none, and no longer than the limit. A failed check says here why."""
    seconds: float
    protection: Protection

    @property
    def passed(self) -> bool:
        return self.status == "passed"
