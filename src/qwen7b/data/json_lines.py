"""Reads JSON lines: an object a line, one of whose fields is the text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qwen7b.data.byte_files import ByteLine, byte_lines, noted_damage, open_bytes, unreadable_bytes
from qwen7b.data.document import Document, document_of
from qwen7b.data.intake import Intake
from qwen7b.data.reading import NamedSource, ReadingSettings
from qwen7b.errors import DataError, quoted
from qwen7b.system.json_file import parse_json
from qwen7b.system.progress import shown_size


def read_json_documents(
    path: Path, source: NamedSource, reading: ReadingSettings, intake: Intake
) -> Iterator[Document]:
    """The documents of a file, decompressed as its name says. What is wrong with a line is noted with its place."""
    with noted_damage(path, intake), open_bytes(path) as file:
        for line in byte_lines(file, limit=reading.max_bytes):
            if line.data is None:
                limit = shown_size(reading.max_bytes)
                intake.note("too long", path, line.place, f"it is longer than {limit} (--max-document-mb)")
            elif line.data.strip():
                try:
                    yield _document(line, path, source, reading)
                except _LineError as error:
                    intake.note(error.problem, path, line.place, str(error))


class _LineError(Exception):
    def __init__(self, problem: str, found: str) -> None:
        super().__init__(found)
        self.problem = problem


def _document(line: ByteLine, path: Path, source: NamedSource, reading: ReadingSettings) -> Document:
    data = line.data or b""
    if found := unreadable_bytes(data, offset=line.offset):
        raise _LineError(*found)
    try:
        value = parse_json(data)
    except ValueError as error:
        if data.strip() == b"[":
            raise _LineError("not JSON", "a list begins here: write an object a line, one for each document") from None
        raise _LineError("not JSON", f"it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise _LineError("not JSON", f"it should be a JSON object, found {quoted(value)}")
    try:
        return document_of(
            value,
            place=f"{source.name_of(path)}:{line.number}",
            source=source.name,
            is_named=source.is_named,
            text_field=reading.text_field,
            id_field=reading.id_field,
        )
    except DataError as error:
        raise _LineError("no text", str(error)) from None
