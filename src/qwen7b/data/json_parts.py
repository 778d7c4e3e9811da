"""Writes documents as JSON lines in compressed parts, into a folder that appears when it is complete."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from qwen7b.data.document import Document

PART_NAME = "part-{number:05d}.jsonl.gz"
CARD_JSON, CARD_PAGE = "card.json", "card.md"
"""The card that a corpus has beside its parts."""
_PART = re.compile(r"part-\d{5,}\.jsonl\.gz")
PART_BYTES = 256_000_000
"""After so many bytes, before compression, a new part begins."""


class PartWriter:
    """Writes documents to the parts of a folder, which it makes. The same documents give the same bytes."""

    def __init__(self, folder: Path, *, part_bytes: int = PART_BYTES) -> None:
        self.folder = folder
        self.num_parts = 0
        self._part_bytes = part_bytes
        self._bytes = 0
        self._file: gzip.GzipFile | None = None
        self._raw: IO[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, document: Document) -> None:
        text = json.dumps(document.as_json(), ensure_ascii=False, allow_nan=False)
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        if self._file is None or self._bytes + len(line) > self._part_bytes:
            self._begin_part()
        self._bytes += len(line)
        cast("gzip.GzipFile", self._file).write(line)

    def close(self) -> None:
        """End the last part. A writer that got no document has no part."""
        if self._file is not None and self._raw is not None:
            self._file.close()
            self._raw.close()
        self._file = self._raw = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin_part(self) -> None:
        self.close()
        self._raw = (self.folder / PART_NAME.format(number=self.num_parts)).open("xb")
        # Without a name and a time, so that the same documents give the same file.
        self._file = gzip.GzipFile(filename="", fileobj=self._raw, mode="wb", compresslevel=5, mtime=0)
        self._bytes = 0
        self.num_parts += 1


def parts_of_corpus(names: Sequence[str]) -> list[str] | None:
    """The parts among the names in a folder; None where it is no corpus, which has a card."""
    return sorted(filter(_PART.fullmatch, names)) if {CARD_JSON, CARD_PAGE} <= set(names) else None
