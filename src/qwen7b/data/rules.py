"""What a rule is: it looks at a document and keeps it, drops it for a reason, or keeps part of its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from qwen7b.data.document import Document


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rule says of a document."""

    reason: str = ""
    """Why it is dropped; empty where it is kept."""
    text: str | None = None
    """What is left of its text where the rule takes something out."""


KEPT = Ruling()


class QualityRule(Protocol):
    """A named filter."""

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> str:
        """Where it comes from."""
        ...

    def rule_on(self, document: Document) -> Ruling: ...
