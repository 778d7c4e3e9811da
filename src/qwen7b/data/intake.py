"""What was read of the files, and what could not be: the first problem ends the reading, or all are counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from qwen7b.errors import DataError

_MAX_KEPT = 20
"""How many problems are kept word by word."""


@dataclass(kw_only=True)
class Intake:
    """Counts of what was read."""

    skips: bool = False
    """Whether what cannot be read is skipped and counted, instead of ending all."""
    files: Counter[str] = field(default_factory=Counter)
    """Files read, by kind."""
    empty_files: int = 0
    pages_without_text: int = 0
    """HTML in which no main text was found."""
    documents: int = 0
    characters: int = 0
    other_files: Counter[str] = field(default_factory=Counter)
    """Files in folders that were left alone, as their names end like no kind that is read, by these endings."""
    skipped: Counter[str] = field(default_factory=Counter)
    """What could not be read, by what was wrong."""
    problems: list[str] = field(default_factory=list)
    """The first of these, each with its file and place."""

    def note(self, problem: str, path: Path, place: str, found: str) -> None:
        """Count a `problem`, by its kind, or raise it as DataError with what was found and where."""
        message = f"{path}{', ' if place else ''}{place}: {found}"
        if not self.skips:
            raise DataError(f"{message}; mend it, or skip what cannot be read by --errors skip")
        self.skipped[problem] += 1
        if len(self.problems) < _MAX_KEPT:
            self.problems.append(message)
