"""Reads Parquet: a row is a document, one of whose columns is the text. Rows are read a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qwen7b.data.document import Document, document_of
from qwen7b.data.intake import Intake
from qwen7b.data.reading import NamedSource, ReadingSettings
from qwen7b.errors import DataError, MissingExtraError
from qwen7b.system.progress import shown_size
from qwen7b.system.regular_file import open_regular

_ROWS = 256
"""How many rows are in memory at once."""


def read_parquet_documents(
    path: Path, source: NamedSource, reading: ReadingSettings, intake: Intake
) -> Iterator[Document]:
    """The documents of a file. What is wrong with a row is noted with its number, from 1."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="train") from error
    try:
        with open_regular(path) as raw, ParquetFile(raw, memory_map=False, pre_buffer=False) as file:
            names = file.schema_arrow.names
            if reading.text_field not in names:
                found = f"it has no column {reading.text_field!r}, found {', '.join(names)}: name it by --text-field"
                intake.note("no text", path, "", found)
                return
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield from _documents(row, number, path, source, reading, intake)
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        intake.note(
            "damaged Parquet", path, "", f"it is damaged, or no Parquet file ({reason:.200}): download it again"
        )


def _documents(
    row: dict[str, Any], number: int, path: Path, source: NamedSource, reading: ReadingSettings, intake: Intake
) -> Iterator[Document]:
    place = f"row {number:,}"
    text = row.get(reading.text_field)
    if isinstance(text, str) and _is_longer(text, reading.max_bytes):
        intake.note("too long", path, place, f"it is longer than {shown_size(reading.max_bytes)} (--max-document-mb)")
        return
    row = {name: value for name, value in row.items() if value is not None or name == reading.text_field}
    try:
        yield document_of(
            {name: value if _is_json(value) else str(value) for name, value in row.items()},
            place=f"{source.name_of(path)}:{number}",
            source=source.name,
            is_named=source.is_named,
            text_field=reading.text_field,
            id_field=reading.id_field,
        )
    except DataError as error:
        intake.note("no text", path, place, str(error))


def _is_longer(text: str, max_bytes: int) -> bool:
    """Whether a text has more bytes in UTF-8, of which a character takes four at most."""
    return len(text) > max_bytes // 4 and len(text.encode("utf-8", "surrogatepass")) > max_bytes


def _is_json(value: object) -> bool:
    """Whether a cell is a value that JSON has, which dates and bytes are not."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_json(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (str, int, float, bool))
