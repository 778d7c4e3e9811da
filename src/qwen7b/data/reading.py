"""How files are read, and under which name: settings that all readers share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from qwen7b.config.checked import positive_number
from qwen7b.errors import SettingError, quoted

FileKind: TypeAlias = Literal["jsonl", "text", "html", "parquet"]
MAX_DOCUMENT_MB = 32.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingSettings:
    """How files become documents."""

    kind: FileKind | None = None
    """What all files are; None to tell by their names."""
    text_field: str = "text"
    """The field or column that has the text."""
    id_field: str = "id"
    max_document_mb: float = MAX_DOCUMENT_MB
    """The most that a line, a cell or a page may have; a longer text file is cut into several documents."""

    def __post_init__(self) -> None:
        positive_number("max_document_mb", self.max_document_mb)
        if self.kind is not None and self.kind not in get_args(FileKind):
            raise SettingError(f"format must be one of {', '.join(get_args(FileKind))}, found {quoted(self.kind)}")

    @property
    def max_bytes(self) -> int:
        return max(int(self.max_document_mb * 1e6), 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedSource:
    """A file or folder, and what its documents' source is called."""

    name: str
    path: Path
    is_named: bool = False
    """Whether the user named it, so that what a line says of its source does not count."""

    def name_of(self, path: Path) -> str:
        """What a file is called in the ids of its documents: below a folder its path there, else its name."""
        inside = path.relative_to(self.path).as_posix() if path != self.path else path.name
        return f"{self.name}/{inside}"
