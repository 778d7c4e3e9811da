"""The result of a diagnosis: facts, and findings, some of which have a repair."""

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
"""A function that repairs a copy of the folder and returns what it did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that is wrong, or might be."""

    severity: Literal["error", "warning"]
    message: str
    """One sentence: what is wrong, what was found, what to do."""
    repair: Repair | None = None


@dataclass(kw_only=True, slots=True)
class Diagnosis:
    """Facts and findings, which are collected while an artefact is examined."""

    path: Path
    kind: str = "unknown"
    """One of "checkpoint folder", "folder of packed weights", "GGUF file", "adapter", "tokenizer", "weight file" or
    "unknown"."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Strings, numbers and lists by name; unknown facts are left out."""
    findings: list[Finding] = field(default_factory=list)
    usage: list[str] = field(default_factory=list)
    """Commands or lines of Python with which to use the artefact."""

    @property
    def is_healthy(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def error(self, problem: str | Qwen7bError, *, repair: Repair | None = None) -> None:
        self._add(Finding(severity="error", message=str(problem), repair=repair))

    def warn(self, problem: str, *, repair: Repair | None = None) -> None:
        self._add(Finding(severity="warning", message=problem, repair=repair))

    def _add(self, finding: Finding) -> None:
        """Add a finding, unless another check has already made the same one."""
        if not any(finding.message == other.message for other in self.findings):
            self.findings.append(finding)

    def attempt(self, read: Callable[[], Result], *, repair: Repair | None = None) -> Result | None:
        """Return what `read` returns, or None if it fails. Errors and warnings become findings, warnings that speak of
        --fix with `repair`."""
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
        """Turn warnings into findings while the body runs."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                yield
            finally:
                for warning in caught:
                    message = str(warning.message)
                    self.warn(message, repair=repair if "--fix" in message else None)

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
