"""Reads the official files of benchmarks as they are: CSV and JSON Lines, each cell as the text that it is.

No cell is taken for a missing value or a number: an option may be "None", "1,080" or "0.50".
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen7b.errors import PromptError, quoted
from qwen7b.system.json_file import parse_json
from qwen7b.system.regular_file import read_whole

MAX_BYTES = 1 << 28
"""The largest file that is read, decompressed."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file, with the line where it begins."""

    cells: dict[str, str]
    path: Path
    line: int

    def error(self, found: str) -> PromptError:
        return PromptError(f"{self.path}, line {self.line}: {found}")


def read_csv(path: Path, columns: Sequence[str], *, has_header: bool, optional: Sequence[str] = ()) -> list[Row]:
    """The rows of a CSV file, their cells by the names of `columns`, which a header has in any order and case.

    Further columns of a header are dropped, and those that are `optional` may be missing. A byte order mark, any line
    ends, and line ends within quotes are read. Raises PromptError, with the file and line, for a row with other
    columns, and for a file that is no UTF-8 text or cannot be read.
    """
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    places = None if has_header else {name: place for place, name in enumerate(columns)}
    width = len(columns)
    rows, start = [], 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not cells or cells == [""]:
                continue
            if places is None:
                header = [cell.strip().lower() for cell in cells]
                if missing := [name for name in columns if name.lower() not in header and name not in optional]:
                    raise PromptError(
                        f"{path} has no column {missing[0]!r}, found {', '.join(cells)!r}: is it another task's?"
                    )
                places = {name: header.index(name.lower()) for name in columns if name.lower() in header}
                if twice := [name for name in places if header.count(name.lower()) > 1]:
                    raise PromptError(f"{path}, line {line}: the column {twice[0]!r} is there twice: drop one")
                width = len(cells)
                continue
            if len(cells) != width:
                raise PromptError(f"{path}, line {line}: a row should have {width} columns, found {len(cells)}")
            rows.append(Row({name: cells[place] for name, place in places.items()}, path, line))
    except csv.Error as error:
        raise PromptError(f"{path}, line {start}: not a row of CSV ({error})") from None
    return rows


def read_json_lines(path: Path, fields: Sequence[str]) -> list[Row]:
    """The objects of a JSON Lines file, whose `fields` must be texts. Raises PromptError as `read_csv` does."""
    return [_row(value, fields, path, number) for number, value in read_json_objects(path)]


def read_json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file, each with the number of its line. Raises PromptError as `read_csv` does."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value: Any = parse_json(line.encode())
        except ValueError as error:
            raise PromptError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(value, dict):
            raise PromptError(f"{path}, line {number}: should be a JSON object, found {quoted(value)}")
        yield number, value


def _row(value: Mapping[str, Any], fields: Sequence[str], path: Path, number: int) -> Row:
    for name in fields:
        if not isinstance(value.get(name), str):
            raise PromptError(f"{path}, line {number}: {name!r} should be a text, found {quoted(value.get(name))}")
        if not value[name].isascii() and _SURROGATE.search(value[name]):
            raise PromptError(f"{path}, line {number}: {name!r} has half of a surrogate pair, which is no character")
    return Row({name: value[name] for name in fields}, path, number)


def read_lines(path: Path) -> list[str]:
    """The lines of a text, one for each item. Raises PromptError where the file cannot be read."""
    return read_text(path).removesuffix("\n").replace("\r\n", "\n").split("\n")


def read_text(path: Path) -> str:
    """A file's text, decompressed if it ends in .gz, without a byte order mark. Raises PromptError."""
    try:
        data = read_whole(path, limit=MAX_BYTES)
        if path.suffix == ".gz":
            data = _decompressed(data)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise PromptError(f"{path} is not there") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PromptError(
            f"{path}, line {line}: not UTF-8 text, found the byte {error.object[error.start]:#04x}: is it another "
            "file, or in another encoding?"
        ) from None
    except gzip.BadGzipFile as error:
        raise PromptError(f"{path} is damaged, or no gzip file ({error}): download it again") from None
    except (OSError, EOFError, zlib.error) as error:
        raise PromptError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise PromptError(f"{path}, line {line}: found a NUL byte, which no text has: download the file again")
    return text


def _decompressed(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise OSError(None, f"it has more than {MAX_BYTES:,} bytes, decompressed")
    return text


def check_unique(rows: Sequence[Row], name: str) -> Iterator[Row]:
    """Yield the rows. Raises PromptError at one whose `name` an earlier one has, or that has none."""
    seen: dict[str, int] = {}
    for row in rows:
        key, title = row.cells[name], name or "id"  # CMMLU's column of ids has no name
        if not key.strip():
            raise row.error(f"the {title} is empty: is the download whole?")
        if key in seen:
            raise row.error(f"{title} {key!r} is already that of line {seen[key]}")
        seen[key] = row.line
        yield row
