"""Sampling weights: how often documents of a source or a language are taken, decided by a hash of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from qwen7b.data.document import Document
from qwen7b.errors import SettingError, quoted

_MAX_WEIGHT = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Weights by source, by language, or by both as in wiki:zh; a document's is the product of those that fit it.

    A weight of 0.25 takes a quarter of the documents, one of 2.5 each twice and half of them a third time. Which ones
    depends on their ids and the seed alone, so that it is the same on any machine and in any order.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not isinstance(weight, (int, float)) or not 0 <= weight <= _MAX_WEIGHT:
                raise SettingError(f"the weight of {name} must be a number from 0 to 100, found {quoted(weight)}")

    @classmethod
    def parsed(cls, text: str, *, seed: int = 0) -> Weights:
        """
        >>> Weights.parsed("wiki=2, zh=0.5").weights
        {'wiki': 2.0, 'zh': 0.5}
        """
        weights: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, separator, number = part.rpartition("=")
            try:
                weights[name.strip()] = float(number)
            except ValueError:
                separator = ""
            if not separator or not name.strip():
                raise SettingError(f"weights are a list as wiki=2,zh=0.5, found {quoted(part)}")
        return cls(weights=weights, seed=seed)

    def weight_of(self, document: Document) -> float:
        keys = (document.source, document.language, f"{document.source}:{document.language}")
        product = 1.0
        for key in dict.fromkeys(keys):
            product *= self.weights.get(key, 1.0)
        return product

    def copies_of(self, document: Document) -> int:
        """How many times a document is taken."""
        weight = self.weight_of(document)
        whole = int(weight)
        return whole + (_drawn(document, self.seed) < weight - whole)

    def drawn(self, document: Document) -> Iterator[Document]:
        """A document as often as it is taken; the ids of repetitions end in ~2, ~3 and so on."""
        for copy in range(1, self.copies_of(document) + 1):
            yield document if copy == 1 else replace(document, id=f"{document.id}~{copy}")


def _drawn(document: Document, seed: int) -> float:
    """A number from 0 up to 1, even over documents."""
    key = f"{seed}\0{document.source}\0{document.id}".encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big") / 2**56
