"""What is remembered of documents while they are compared, on disk, so that memory holds little of each."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qwen7b.data.shingles import WordRows


class RecordFile:
    """Records of bytes, one after another, each read by its number."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb+")
        self._ends = array("Q", [0])

    def append(self, record: bytes) -> None:
        self._file.write(record)
        self._ends.append(self._ends[-1] + len(record))

    def read(self, number: int) -> bytes:
        self._file.flush()
        start, end = self._ends[number], self._ends[number + 1]
        self._file.seek(start)
        return self._file.read(end - start)

    def sizes(self) -> NDArray[np.uint64]:
        """How many bytes each record has."""
        ends = np.array(self._ends, np.uint64)
        return ends[1:] - ends[:-1]

    def close(self) -> None:
        self._file.close()


class NgramSets:
    """The sets of documents' n-grams, as sorted 32-bit numbers."""

    def __init__(self, folder: Path) -> None:
        self._records = RecordFile(folder / "ngrams")

    def append(self, ngrams: WordRows) -> None:
        """Add the rows as sets. Of the 64 bits of an n-gram the upper half is kept."""
        counts = np.diff(ngrams.starts)
        owners = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
        # np.unique is several times slower than this.
        members = np.sort((owners << np.uint64(32)) | (ngrams.numbers >> np.uint64(32)))
        members = members[np.insert(members[1:] != members[:-1], 0, True)] if len(members) else members
        ends = np.searchsorted(members, np.arange(1, len(counts) + 1, dtype=np.uint64) << np.uint64(32))
        halves = (members & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            self._records.append(halves[start:end].tobytes())

    def are_there(self) -> NDArray[np.bool_]:
        """Which documents have any n-gram, as those of fewer words than it takes have not."""
        return self._records.sizes() > 0

    def jaccard(self, first: int, second: int, *, at_least: float = 0.0) -> float:
        """The similarity of two sets: what they share, by what either has; 0 where it is surely less than asked."""
        one, other = self._read(first), self._read(second)
        if min(len(one), len(other)) < at_least * max(len(one), len(other)):
            return 0.0
        shared = len(np.intersect1d(one, other, assume_unique=True))
        union = len(one) + len(other) - shared
        return shared / union if union else 0.0

    def close(self) -> None:
        self._records.close()

    def _read(self, number: int) -> NDArray[np.uint32]:
        return np.frombuffer(self._records.read(number), np.uint32)


class BandFiles:
    """The keys of documents, a file for each band, so that one band at a time is in memory."""

    def __init__(self, folder: Path, bands: int) -> None:
        self._paths = [folder / f"band-{band}" for band in range(bands)]
        self._files = [path.open("wb") for path in self._paths]

    def append(self, keys: NDArray[np.uint64]) -> None:
        for file, column in zip(self._files, keys.T, strict=True):
            file.write(np.ascontiguousarray(column).tobytes())

    def close(self) -> None:
        for file in self._files:
            file.close()

    def read(self, band: int) -> NDArray[np.uint64]:
        """The keys of all documents in a band."""
        self._files[band].flush()
        return np.fromfile(self._paths[band], np.uint64)
