"""Reads text files: a file is a document, or several where it is longer than a document may be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from qwen7b.data.byte_files import COMPRESSIONS, noted_damage, open_bytes, unreadable_bytes
from qwen7b.data.document import CODE, Document
from qwen7b.data.intake import Intake
from qwen7b.data.reading import NamedSource, ReadingSettings

PROGRAMS = {
    **{".py": "python", ".pyi": "python", ".c": "c", ".h": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++"},
    **{".hpp": "c++", ".cu": "cuda", ".java": "java", ".kt": "kotlin", ".scala": "scala", ".go": "go", ".rs": "rust"},
    **{".js": "javascript", ".mjs": "javascript", ".ts": "typescript", ".tsx": "typescript", ".cs": "c#"},
    **{".swift": "swift", ".rb": "ruby", ".php": "php", ".pl": "perl", ".lua": "lua", ".jl": "julia", ".r": "r"},
    **{".sh": "shell", ".bash": "shell", ".sql": "sql", ".hs": "haskell", ".ml": "ocaml", ".ex": "elixir"},
    **{".erl": "erlang", ".clj": "clojure", ".f90": "fortran", ".m": "matlab", ".tex": "tex"},
}
"""The language that a program is written in, by the ending of its file's name."""


def read_text_documents(
    path: Path, source: NamedSource, reading: ReadingSettings, intake: Intake
) -> Iterator[Document]:
    """The document that a file is. A program's says in which language it is written.

    A longer file is cut at line ends, or within a line that is longer than a document may be. A part that is no text is
    noted with its place.
    """
    name = source.name_of(path)
    program = PROGRAMS.get(name_without_compression(path).suffix.lower())
    metadata = {"language": CODE, "code": program} if program else {}
    offset = count = 0
    with noted_damage(path, intake), open_bytes(path) as file:
        for part in _parts(file, limit=reading.max_bytes):
            count += 1
            number = f"#{count}" if count > 1 else ""
            start, offset = offset, offset + len(part)
            if found := unreadable_bytes(part, offset=start):
                intake.note(found[0], path, "", found[1])
                continue
            text = part.decode("utf-8-sig" if count == 1 else "utf-8").replace("\r\n", "\n").replace("\r", "\n")
            yield Document(id=name + number, text=text, source=source.name, metadata=metadata)


def name_without_compression(path: Path) -> Path:
    """
    >>> str(name_without_compression(Path("book.txt.gz")))
    'book.txt'
    """
    return path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path


def _parts(file: IO[bytes], *, limit: int) -> Iterator[bytes]:
    """The bytes of a file, not more than `limit` at once, each part but the last ending where a line or character
    does."""
    rest = b""
    while data := file.read(limit - len(rest)):
        data = rest + data
        if len(data) < limit:
            rest = data
            continue
        end = data.rfind(b"\n") + 1 or _character_end(data)
        rest = data[end:]
        yield data[:end]
    if rest:
        yield rest


def _character_end(data: bytes) -> int:
    """Where the last whole character of UTF-8 ends; the end where the bytes are no UTF-8."""
    for start in range(len(data) - 1, max(len(data) - 5, 0), -1):
        if data[start] & 0xC0 != 0x80:  # the first byte of a character
            return start
    return len(data)
