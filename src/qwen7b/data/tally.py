"""Counts of documents: what came in and what was kept, by source and language, and what was dropped and why."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from qwen7b.data.document import Document

MAX_EXAMPLES = 3
"""How many documents are shown of each reason."""
_EXCERPT = 300


@dataclass(slots=True)
class Amount:
    """A number of documents and of their characters."""

    documents: int = 0
    characters: int = 0

    def add(self, document: Document) -> None:
        self.documents += 1
        self.characters += len(document.text)

    def join(self, other: Amount) -> None:
        self.documents += other.documents
        self.characters += other.characters


@dataclass(frozen=True, order=True, slots=True)
class Example:
    """A dropped document; which ones are shown is decided by a hash, so that the first files do not fill the list."""

    rank: int
    id: str
    source: str
    language: str
    note: str
    excerpt: str
    characters: int


@dataclass(slots=True)
class Dropped:
    """What a rule has dropped for one reason."""

    amount: Amount = field(default_factory=Amount)
    examples: list[Example] = field(default_factory=list)

    def add(self, document: Document, note: str) -> None:
        self.amount.add(document)
        self._offer([_example(document, note)])

    def join(self, other: Dropped) -> None:
        self.amount.join(other.amount)
        self._offer(other.examples)

    def _offer(self, more: list[Example]) -> None:
        self.examples = heapq.nsmallest(MAX_EXAMPLES, [*self.examples, *more])


Group = tuple[str, str]
"""A source and a language."""


@dataclass(kw_only=True, slots=True)
class Tally:
    """All counts of a run, or of a part of it: those of parts are joined."""

    before: defaultdict[Group, Amount] = field(default_factory=lambda: defaultdict(Amount))
    after: defaultdict[Group, Amount] = field(default_factory=lambda: defaultdict(Amount))
    dropped: defaultdict[tuple[str, str], Dropped] = field(default_factory=lambda: defaultdict(Dropped))
    """By rule and reason."""
    dropped_groups: defaultdict[tuple[str, str], Amount] = field(default_factory=lambda: defaultdict(Amount))
    """By rule and language."""
    removed: Counter[str] = field(default_factory=Counter)
    """Characters that a rule took out of documents that it kept."""
    lengths_before: Counter[int] = field(default_factory=Counter)
    """Documents by the number of binary digits of their lengths in characters."""
    lengths_after: Counter[int] = field(default_factory=Counter)

    def came_in(self, document: Document) -> None:
        self.before[document.source, document.language].add(document)
        self.lengths_before[len(document.text).bit_length()] += 1

    def was_kept(self, document: Document) -> None:
        self.after[document.source, document.language].add(document)
        self.lengths_after[len(document.text).bit_length()] += 1

    def was_dropped(self, document: Document, rule: str, reason: str, note: str = "") -> None:
        """Count a dropped document; `note` says more of it alone than the reason, such as which it is a copy of."""
        self.dropped[rule, reason].add(document, note)
        self.dropped_groups[rule, document.language].add(document)

    def join(self, other: Tally) -> None:
        for mine, theirs in ((self.before, other.before), (self.after, other.after)):
            for group, amount in theirs.items():
                mine[group].join(amount)
        for reason, dropped in other.dropped.items():
            self.dropped[reason].join(dropped)
        for group, amount in other.dropped_groups.items():
            self.dropped_groups[group].join(amount)
        self.removed += other.removed
        self.lengths_before += other.lengths_before
        self.lengths_after += other.lengths_after


def total(amounts: defaultdict[Group, Amount]) -> Amount:
    """The sum over all groups."""
    summed = Amount()
    for amount in amounts.values():
        summed.join(amount)
    return summed


def _example(document: Document, note: str) -> Example:
    digest = hashlib.blake2b(document.id.encode("utf-8", "backslashreplace"), digest_size=6).digest()
    excerpt = " ".join(document.text[:_EXCERPT].split())
    return Example(
        int.from_bytes(digest, "big"),
        document.id,
        document.source,
        document.language,
        note,
        excerpt + (" …" if len(document.text) > _EXCERPT else ""),
        len(document.text),
    )
