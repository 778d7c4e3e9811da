"""What a diagnosis says: facts, and findings that may carry their repair."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from qwen7b.errors import CheckpointError, Qwen7bError

Result = TypeVar("Result")
Repair: TypeAlias = Callable[[Path], str]
"""Mends a copy of the folder and says what it did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    severity: Literal["error", "warning"]
    message: str
    """One sentence: what is wrong, what was found, what to do."""
    repair: Repair | None = None


@dataclass(kw_only=True, slots=True)
class Diagnosis:
    """Grows while an artefact is looked at."""

    path: Path
    kind: str = "unknown"
    """"checkpoint folder", "GGUF file", "adapter", "tokenizer", "weight file" or "unknown"."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Strings, numbers and lists by name; a fact that is not known is not there."""
    findings: list[Finding] = field(default_factory=list)
    usage: list[str] = field(default_factory=list)
    """Commands or lines of Python that use it."""

    @property
    def is_healthy(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def error(self, problem: str | Qwen7bError, *, repair: Repair | None = None) -> None:
        self._add(Finding(severity="error", message=str(problem), repair=repair))

    def warn(self, problem: str, *, repair: Repair | None = None) -> None:
        self._add(Finding(severity="warning", message=problem, repair=repair))

    def _add(self, finding: Finding) -> None:
        """Several ways of looking may find the same."""
        if not any(finding.message == other.message for other in self.findings):
            self.findings.append(finding)

    def attempt(self, read: Callable[[], Result], *, repair: Repair | None = None) -> Result | None:
        """What `read` returns, or None after noting its error; its warnings are noted too, with their repair."""
        try:
            with self.noting_warnings(repair=repair):
                return read()
        except Qwen7bError as error:
            self.error(error)
        except OSError as error:
            self.error(CheckpointError(f"{error.filename or self.path} cannot be read: {error.strerror or error}"))
        return None

    @contextmanager
    def noting_warnings(self, *, repair: Repair | None = None) -> Iterator[None]:
        """Warnings become findings."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                yield
            finally:
                for warning in caught:
                    self.warn(str(warning.message), repair=repair)

    def as_document(self) -> dict[str, Any]:
        """The diagnosis as JSON has it."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "healthy": self.is_healthy,
            "facts": self.facts,
            "findings": [
                {"severity": finding.severity, "message": finding.message, "repairable": finding.repair is not None}
                for finding in self.findings
            ],
            "usage": self.usage,
        }
