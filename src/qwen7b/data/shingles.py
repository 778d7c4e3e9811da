"""n-grams of words as 64-bit numbers, many texts at once: for near copies, and for benchmarks in texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from qwen7b.data.words import simplified, units_of

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MAX_KNOWN = 1 << 20
"""How many words' numbers are remembered before all are forgotten, so that memory stays bounded."""


class WordNumbers(dict[str, int]):
    """A number for each word: the beginning of its BLAKE2b, the same on all machines; looked up once computed."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MAX_KNOWN:
            self.clear()
        number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = number
        return number


@dataclass(frozen=True, slots=True)
class WordRows:
    """The words of texts as numbers, one text after another; row r is `numbers[starts[r]:starts[r + 1]]`."""

    numbers: NDArray[np.uint64]
    starts: NDArray[np.int64]


def number_words(texts: Sequence[str], known: WordNumbers) -> WordRows:
    """The words of texts, simplified, as `units_of` cuts them."""
    units = [units_of(simplified(text)) for text in texts]
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(row) for row in units], out=starts[1:])
    numbers = np.fromiter(map(known.__getitem__, chain.from_iterable(units)), np.uint64, int(starts[-1]))
    return WordRows(numbers, starts)


def hash_ngrams(rows: WordRows, n: int) -> WordRows:
    """The n-grams of each row as numbers; a row of fewer words has none."""
    # An n-gram's number is a polynomial in its words' numbers; windows that reach into the next row are left out.
    sums = np.zeros(len(rows.numbers), np.uint64)
    for place in range(min(n, len(sums))):
        sums *= _MULTIPLIER
        sums[: len(sums) - place] += rows.numbers[place:]
    places, starts = ngram_places(rows, n)
    return WordRows(mixed(sums[places]), starts)


def ngram_places(rows: WordRows, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each n-gram begins among all words, and where those of each row begin among these."""
    counts = np.maximum(np.diff(rows.starts) - n + 1, 0)
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return np.arange(starts[-1]) + np.repeat(rows.starts[:-1] - starts[:-1], counts), starts


def polynomial(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A polynomial whose coefficients are the numbers along the first axis, modulo 2^64."""
    total = np.zeros(numbers.shape[1:], np.uint64)
    for number in numbers:
        total = total * _MULTIPLIER + number
    return total


def mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread what differs over all bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
