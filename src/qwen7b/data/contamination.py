"""Benchmarks in training data: n-grams of words that a document shares with the files of benchmarks.

A match is n words in a row, 13 by default, as for GPT-3 (https://arxiv.org/abs/2005.14165, appendix C) and for Qwen;
of scripts without blanks a character counts as a word. A field of 8 to 12 words is looked for whole. What
is mostly numbers is looked for nowhere.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qwen7b.data.document import Document
from qwen7b.data.rules import KEPT, Ruling
from qwen7b.data.shingles import WordNumbers, WordRows, hash_ngrams, ngram_places, number_words
from qwen7b.data.words import simplified, units_of
from qwen7b.errors import PromptError, SettingError
from qwen7b.system.regular_file import existing_path
from qwen7b.tasks.table_files import read_json_objects, read_lines, read_text

NGRAM = 13
MIN_WORDS = 8
"""What a field has at least that is looked for whole."""
_ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".txt")


@dataclass(frozen=True, slots=True)
class BenchmarkIndex:
    """The n-grams of benchmarks, by their length in words: sorted numbers, and which benchmark each is of."""

    n: int
    names: tuple[str, ...]
    numbers: dict[int, NDArray[np.uint64]]
    owners: dict[int, NDArray[np.int32]]


@dataclass(slots=True)
class NoBenchmarks:
    """Drops documents that share an n-gram with a benchmark."""

    index: BenchmarkIndex
    _known: WordNumbers = field(default_factory=WordNumbers)

    name: ClassVar[str] = "benchmarks"
    origin: ClassVar[str] = "n-grams as for GPT-3, https://arxiv.org/abs/2005.14165, appendix C"

    def rule_on(self, document: Document) -> Ruling:
        rows = number_words([document.text], self._known)
        for n, numbers in self.index.numbers.items():
            if n > len(rows.numbers):
                continue
            found = hash_ngrams(rows, n).numbers
            places = np.minimum(np.searchsorted(numbers, found), len(numbers) - 1)
            hits = np.flatnonzero(numbers[places] == found)
            if len(hits):
                owner = self.index.names[self.index.owners[n][places[hits[0]]]]
                words = units_of(simplified(document.text))[hits[0] : hits[0] + n]
                return Ruling(f"{owner}: {' '.join(words)}")
        return KEPT


def index_benchmarks(paths: Sequence[Path], *, n: int = NGRAM) -> BenchmarkIndex:
    """The n-grams of all fields of benchmarks' files: CSV, TSV and JSON lines by their fields, texts by their lines.

    A folder stands for all such files below it; a benchmark is called by the file's path from there. Raises
    SettingError where there is none, PromptError for a damaged one.
    """
    known = WordNumbers()
    names: list[str] = []
    grams: dict[int, list[NDArray[np.uint64]]] = {}
    owners: dict[int, list[NDArray[np.int32]]] = {}
    for name, path in _files(paths):
        names.append(name)
        fields = list(_fields(path))
        for start in range(0, len(fields), 1000):
            rows = number_words(fields[start : start + 1000], known)
            lengths = np.diff(rows.starts)
            for width in {n, *range(MIN_WORDS, n)}:
                hashes = hash_ngrams(rows, width)
                wanted = lengths == width if width < n else lengths >= n
                is_wanted = np.repeat(wanted, np.diff(hashes.starts)) & _has_words(rows, width, known)
                picked = hashes.numbers[is_wanted]
                if len(picked):
                    grams.setdefault(width, []).append(picked)
                    owners.setdefault(width, []).append(np.full(len(picked), len(names) - 1, np.int32))
    numbers, whose = {}, {}
    for width in sorted(grams, reverse=True):
        numbers[width], first = np.unique(np.concatenate(grams[width]), return_index=True)
        whose[width] = np.concatenate(owners[width])[first]
    return BenchmarkIndex(n, tuple(names), numbers, whose)


def _has_words(rows: WordRows, n: int, known: WordNumbers) -> NDArray[np.bool_]:
    """Which n-grams have more other words than numbers: of these, which count as equal, any table is full."""
    before = np.concatenate([[0], np.cumsum(rows.numbers == np.uint64(known["0"]))])
    places, _ = ngram_places(rows, n)
    is_wordy: NDArray[np.bool_] = 2 * (before[places + n] - before[places]) < n
    return is_wordy


def _files(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    for path in map(existing_path, paths):
        found = [path] if path.is_file() else sorted(filter(_is_benchmark, path.rglob("*")))
        if not found:
            raise SettingError(f"{path} has no file of a benchmark: their names end in {', '.join(_ENDINGS)}, or .gz")
        for file in found:
            yield file.relative_to(path.parent).as_posix(), file


def _is_benchmark(path: Path) -> bool:
    name = path.with_suffix("") if path.suffix == ".gz" else path
    return path.is_file() and (name.suffix in _ENDINGS or any(end in path.name for end in (".src.", ".ref.")))


def _fields(path: Path) -> Iterator[str]:
    ending = (path.with_suffix("") if path.suffix == ".gz" else path).suffix
    if ending in (".csv", ".tsv"):
        reader = csv.reader(read_text(path).splitlines(keepends=True), delimiter="\t" if ending == ".tsv" else ",")
        try:
            for row in reader:
                yield from row
        except csv.Error as error:
            raise PromptError(f"{path}, line {reader.line_num}: not a row of CSV ({error})") from None
    elif ending in (".jsonl", ".json"):
        for _, value in read_json_objects(path):
            yield from _texts(value)
    else:
        yield from read_lines(path)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for inner in value.values() for text in _texts(inner))
    elif isinstance(value, list):
        yield from (text for inner in islice(value, 10_000) for text in _texts(inner))
