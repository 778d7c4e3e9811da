"""The files that a corpus is made of: named sources in, their documents out, file after file in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qwen7b.data.document import Document
from qwen7b.data.html_pages import read_html_documents
from qwen7b.data.intake import Intake
from qwen7b.data.json_lines import read_json_documents
from qwen7b.data.json_parts import parts_of_corpus
from qwen7b.data.parquet_files import read_parquet_documents
from qwen7b.data.reading import FileKind, NamedSource, ReadingSettings
from qwen7b.data.text_files import PROGRAMS, name_without_compression, read_text_documents
from qwen7b.errors import SettingError, counted
from qwen7b.system.progress import progress
from qwen7b.system.regular_file import existing_path

KINDS: dict[str, FileKind] = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".txt", ".text", ".md", ".rst"), "text"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    ".parquet": "parquet",
    **dict.fromkeys(PROGRAMS, "text"),
}
"""What a file is, by the ending of its name, without one of a compression."""
_READERS = {
    "jsonl": read_json_documents,
    "text": read_text_documents,
    "html": read_html_documents,
    "parquet": read_parquet_documents,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Files and folders with their names, and how they are read."""

    sources: tuple[NamedSource, ...]
    reading: ReadingSettings = field(default_factory=ReadingSettings)

    @classmethod
    def parsed(cls, arguments: Sequence[str], reading: ReadingSettings | None = None) -> Sources:
        """Sources out of arguments, each a path, or a name and a path as in wiki=dumps/wiki.

        Raises SettingError for a name twice, and as `existing_path` does for what is not there.
        """
        sources = [_parsed(argument) for argument in arguments]
        for number, source in enumerate(sources):
            if any(source.path == other.path for other in sources[:number]):
                raise SettingError(f"{source.path} is given twice: give it once")
        if not sources:
            raise SettingError("there is nothing to read: name files or folders")
        return cls(sources=tuple(sources), reading=reading or ReadingSettings())

    def files(self, intake: Intake | None = None) -> Iterator[tuple[NamedSource, Path, FileKind]]:
        """All files in their order: as the sources are given, those of a folder by name before those of its folders.

        Raises SettingError for a named file of no known kind, and for a source without any; in folders others are left
        alone and counted.
        """
        for source in self.sources:
            if source.path.is_file():
                kind = self.reading.kind or _kind_of(source.path)
                if kind is None:
                    raise SettingError(
                        f"the name of {source.path} does not say what it is: name it by --format jsonl, text, html or "
                        "parquet"
                    )
                yield source, source.path, kind
                continue
            count = 0
            for path in _files_below(source.path):
                if kind := self.reading.kind or _kind_of(path):
                    count += 1
                    yield source, path, kind
                elif intake is not None:
                    intake.other_files[path.suffix.lower() or "no ending"] += 1
            if not count:
                raise SettingError(
                    f"{source.path} has no file that can be read: their names should end in .jsonl, .txt, .html, "
                    ".parquet or as programs do, perhaps compressed; or name their kind by --format"
                )


def read_documents(sources: Sources, intake: Intake, *, doing: str = "") -> Iterator[Document]:
    """All documents, which `intake` counts. What cannot be read raises DataError or is counted, as `intake` says.

    With `doing`, what the documents are read for, progress is shown by files.
    """
    if not doing:
        for source, path, kind in sources.files(intake):
            yield from read_file(source, path, kind, sources.reading, intake)
        return
    sizes = [path.stat().st_size for _, path, _ in sources.files()]
    with progress(f"{doing} {counted(len(sizes), 'file')}", sum(sizes), "B") as add:
        for (source, path, kind), size in zip(sources.files(intake), sizes, strict=True):
            yield from read_file(source, path, kind, sources.reading, intake)
            add(size)


def read_file(
    source: NamedSource, path: Path, kind: FileKind, reading: ReadingSettings, intake: Intake
) -> Iterator[Document]:
    """The documents of one file."""
    intake.files[kind] += 1
    if path.stat().st_size == 0:
        intake.empty_files += 1
        return
    for document in _READERS[kind](path, source, reading, intake):
        intake.documents += 1
        intake.characters += len(document.text)
        yield document


def _parsed(argument: str) -> NamedSource:
    name, separator, path = argument.partition("=")
    if separator and name and path and not os.path.exists(argument) and os.sep not in name:
        return NamedSource(name=name, path=existing_path(Path(path).expanduser()), is_named=True)
    found = existing_path(Path(argument).expanduser())
    stem = name_without_compression(found)
    return NamedSource(name=(stem.stem if found.is_file() else found.resolve().name) or "data", path=found)


def _kind_of(path: Path) -> FileKind | None:
    return KINDS.get(name_without_compression(path).suffix.lower())


def _files_below(folder: Path) -> Iterator[Path]:
    """The files below a folder by name, before those of its folders, without hidden ones and what hidden folders have.

    Of a corpus that was written here only its parts are read, not its card.
    """
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if (parts := parts_of_corpus(names)) is not None:
            folders[:], names = [], parts
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith(".") and _is_file(parent, name))


def _is_file(parent: str, name: str) -> bool:
    return os.path.isfile(os.path.join(parent, name))
