"""Texts by language, in files and folders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qwen7b.errors import SettingError, counted, quoted
from qwen7b.system.regular_file import named_text, read_text


@dataclass(frozen=True, kw_only=True, slots=True)
class TextGroup:
    """The texts of one language, or of one kind, such as code."""

    name: str
    files: tuple[Path, ...]
    is_named: bool
    """True where a user names the one file, which must then be UTF-8; else files that are not are left out."""

    def texts(self) -> Iterator[str]:
        """The texts, one at a time.

        Files of a folder that are no UTF-8 or hold NUL characters are no texts: they are left out with a warning.
        Raises SettingError for a named file that is not UTF-8, and where no text is left.
        """
        if self.is_named:
            (file,) = self.files
            yield named_text(file)
            return
        left_out, is_empty = [], True
        for file in self.files:
            try:
                text = read_text(file)
            except (OSError, UnicodeDecodeError):
                left_out.append(file)
                continue
            if "\0" in text:
                left_out.append(file)
            else:
                is_empty = False
                yield text
        if is_empty:
            raise SettingError(
                f"{self.name} has no text in UTF-8 among its {counted(len(left_out), 'file')}, such as {left_out[0]}: "
                "convert them first, for example with iconv -f GB18030 -t UTF-8"
            )
        if left_out:
            warnings.warn(
                f"{self.name}: left out {counted(len(left_out), 'file')} of {len(self.files)} that are no text in "
                f"UTF-8, the first is {left_out[0]}",
                stacklevel=2,
            )


def find_groups(places: Sequence[str | os.PathLike[str]]) -> list[TextGroup]:
    """The texts in files and folders, by language.

    A file is a language named by its stem: `fr.txt` is fr. In a folder each entry is a language, a file by its stem and
    a folder by its name, with all files below it. `code=/usr/lib/python3` gives a file, or all files below a folder,
    the name code. Hidden files do not count. Raises SettingError where there is nothing, or a name comes twice.
    """
    groups: dict[str, TextGroup] = {}
    for place in places:
        for group in _groups_at(os.fspath(place)):
            if group.name in groups:
                raise SettingError(
                    f"{group.files[0]} and {groups[group.name].files[0]} are both called {quoted(group.name)}: give "
                    "one another name, as in NAME=PATH"
                )
            groups[group.name] = group
    return list(groups.values())


def named_group(place: str | os.PathLike[str], *, name: str = "") -> TextGroup:
    """All texts of a file or of a folder, whatever their languages. Raises SettingError where there is none."""
    path = Path(place).expanduser()
    if path.is_dir():
        if files := _files_below(path):
            return TextGroup(name=name or str(place), files=files, is_named=False)
        raise SettingError(f"{place} is a folder without files: give one with texts")
    if not path.exists():
        raise SettingError(f"{place} does not exist: give a file or a folder of texts")
    return TextGroup(name=name or path.stem, files=(path,), is_named=True)


def _groups_at(place: str) -> list[TextGroup]:
    name, equals, path = place.partition("=")
    if equals and name and not Path(place).expanduser().exists():
        return [named_group(path, name=name)]
    folder = Path(place).expanduser()
    if not folder.is_dir():
        return [named_group(place)]
    groups = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        files = _files_below(entry) if entry.is_dir() else (entry,)
        if files:
            name = entry.name if entry.is_dir() else entry.stem
            groups.append(TextGroup(name=name, files=files, is_named=False))
    if not groups:
        raise SettingError(f"{place} is a folder without files: give one that holds a file or folder a language")
    return groups


def _files_below(folder: Path) -> tuple[Path, ...]:
    files = (path for path in folder.rglob("*") if path.is_file())
    visible = (path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return tuple(sorted(visible))
