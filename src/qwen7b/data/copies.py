"""Finds copies and near copies: documents in, one after another, and in the end which of each cluster stays.

A copy has the same text but for case and blanks. A near copy shares enough of its n-grams: MinHash finds candidates,
and the n-grams themselves decide; a text of fewer words than an n-gram has no near copies. Copies of copies are one
cluster, even where the two ends differ more. Of a cluster the longest document stays, and of equally long ones the
first.
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qwen7b.data.document import Document
from qwen7b.data.minhash import NearCopySettings, band_keys
from qwen7b.data.scratch import BandFiles, NgramSets, RecordFile
from qwen7b.data.shingles import WordNumbers, hash_ngrams, number_words

_MAX_REFUTED = 1_000_000


@dataclass(frozen=True, slots=True)
class Copies:
    """What was found: for each document, by its number, the one that stays for it."""

    kept_for: NDArray[np.int64]
    is_exact: NDArray[np.bool_]
    """Whether a document has the same text as the one that stays for it."""
    candidates: int
    """Pairs whose n-grams were compared."""
    confirmed: int
    """Pairs of these that are similar enough."""

    def cluster_sizes(self) -> NDArray[np.int64]:
        """How many documents each cluster of at least two has."""
        sizes = np.bincount(self.kept_for)
        return sizes[sizes > 1]


@dataclass(slots=True)
class CopyFinder:
    """Remembers of each document what comparing it takes, most of it in files of a scratch folder."""

    folder: Path
    settings: NearCopySettings = field(default_factory=NearCopySettings)
    _digests: array[int] = field(default_factory=lambda: array("Q"))
    _lengths: array[int] = field(default_factory=lambda: array("Q"))
    _known: WordNumbers = field(default_factory=WordNumbers)
    _ids: RecordFile = field(init=False)
    _sets: NgramSets = field(init=False)
    _bands: BandFiles = field(init=False)

    def __post_init__(self) -> None:
        self._ids = RecordFile(self.folder / "ids")
        self._sets = NgramSets(self.folder)
        self._bands = BandFiles(self.folder, self.settings.bands)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for files in (self._ids, self._sets, self._bands):
            files.close()

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, documents: Sequence[Document]) -> None:
        """Remember documents; a few hundred at once are faster than each alone, with the same result."""
        texts = [document.text for document in documents]
        ngrams = hash_ngrams(number_words(texts, self._known), self.settings.ngram)
        self._bands.append(band_keys(ngrams, self.settings))
        self._sets.append(ngrams)
        for document in documents:
            self._digests.extend(text_digest(document.text))
            self._lengths.append(len(document.text))
            self._ids.append(document.id.encode("utf-8", "backslashreplace"))

    def id_of(self, number: int) -> str:
        """The id of the document that was added as the `number`th, from 0."""
        return self._ids.read(number).decode()

    def find(self) -> Copies:
        """Compare all documents that were added."""
        clusters = Clusters(len(self))
        digests = np.frombuffer(self._digests, np.uint64).reshape(-1, 2)
        candidates, confirmed = self._join_near(
            clusters, np.flatnonzero(self._join_exact(clusters, digests) & self._sets.are_there())
        )
        kept_for = self._representatives(clusters)
        return Copies(kept_for, (digests == digests[kept_for]).all(axis=1), candidates, confirmed)

    def _join_exact(self, clusters: Clusters, digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Join documents of the same text, and say which ones are the first of theirs."""
        is_first = np.ones(len(self), np.bool_)
        order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: the first of equal ones comes first
        equal = np.flatnonzero((digests[order[1:]] == digests[order[:-1]]).all(axis=1))
        for place in equal:
            clusters.join(int(order[place]), int(order[place + 1]))
        is_first[order[equal + 1]] = False
        return is_first

    def _join_near(self, clusters: Clusters, alive: NDArray[np.int64]) -> tuple[int, int]:
        candidates = confirmed = 0
        refuted: set[tuple[int, int]] = set()
        for band in range(self.settings.bands):
            for first, second in _meetings(self._bands.read(band)[alive], alive):
                if clusters.find(first) == clusters.find(second) or (first, second) in refuted:
                    continue
                candidates += 1
                least = self.settings.min_similarity
                if self._sets.jaccard(first, second, at_least=least) >= least:
                    confirmed += 1
                    clusters.join(first, second)
                elif len(refuted) < _MAX_REFUTED:
                    refuted.add((first, second))
        return candidates, confirmed

    def _representatives(self, clusters: Clusters) -> NDArray[np.int64]:
        roots = np.array([clusters.find(number) for number in range(len(self))], np.int64)
        lengths = np.frombuffer(self._lengths, np.uint64).astype(np.int64)
        order = np.lexsort((np.arange(len(self)), -lengths, roots))
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = roots[order[1:]] != roots[order[:-1]]
        best = np.zeros(len(self), np.int64)
        best[roots[order[is_first]]] = order[is_first]
        return best[roots]


class Clusters:
    """Disjoint sets of numbers (Tarjan 1975): the root of a set is its smallest number."""

    def __init__(self, count: int) -> None:
        self._parents = array("q", range(count))

    def find(self, number: int) -> int:
        """The root of a number's set."""
        parents = self._parents
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    def join(self, first: int, second: int) -> None:
        one, other = sorted((self.find(first), self.find(second)))
        self._parents[other] = one


def text_digest(text: str) -> tuple[int, int]:
    """What texts have in common that differ only in case, in blanks, and in how characters are composed."""
    normal = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    digest = hashlib.blake2b(normal.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _meetings(keys: NDArray[np.uint64], numbers: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """The pairs of documents with equal keys that are compared: each with the one before it, and with the first.

    Of many documents with one key it is thus two pairs each that are compared, and not all. Where these are unlike, as
    in texts of one template, two near copies among them may not meet in this band.
    """
    order = np.argsort(keys, kind="stable")
    is_equal = keys[order[1:]] == keys[order[:-1]]
    first = 0
    for place in np.flatnonzero(is_equal).tolist():
        if place == 0 or not is_equal[place - 1]:
            first = place
        second = int(numbers[order[place + 1]])
        yield int(numbers[order[place]]), second
        if first != place:
            yield int(numbers[order[first]]), second
