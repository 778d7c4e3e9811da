"""The interface of each hub's module, and the types that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from qwen7b.hub.known import HubFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The repository, revision and file that a hub id names."""

    repository: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return self.repository + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class HubEntry:
    """A file of a repository at one revision."""

    size: int
    local: Path | None
    """Its path in the cache; None where it is not cached."""


class Hub(Protocol):
    """The functions of a hub's module. They raise Qwen7bError, and OSError about local files."""

    CACHE_VARIABLE: str

    def cache_folder(self) -> Path: ...
    def cached_snapshot(self, reference: Reference) -> Path | None: ...
    def list_files(self, reference: Reference) -> Mapping[str, HubEntry]: ...
    def download(self, reference: Reference, files: Sequence[str]) -> Path: ...
    def continue_file(
        self, source: HubFile, partial: Path, *, size: int, bar: AbstractContextManager[Callable[[int], None]]
    ) -> None: ...
