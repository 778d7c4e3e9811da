"""The bytes of data files, decompressed by the ending of their names, and their lines, of bounded length."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from qwen7b.data.intake import Intake
from qwen7b.errors import MissingExtraError
from qwen7b.system.regular_file import open_regular

COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
"""Endings that are taken off a name before what is left says of what kind a file is."""
_BLOCK = 1 << 20


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading its decompressed bytes. Raises OSError where it cannot be read."""
    with io.BufferedReader(open_regular(path), _BLOCK) as raw, _DECOMPRESSED[_compression(path)](raw) as file:
        yield file


def _compression(path: Path) -> str:
    ending = path.suffix.lower()
    return ending if ending in COMPRESSIONS else ""


def _open_zstd(raw: IO[bytes]) -> IO[bytes]:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("pyarrow, which reads .zst,", extra="train") from error
    stream: Any = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd")
    return io.BufferedReader(stream, _BLOCK)


_DECOMPRESSED: dict[str, Callable[[IO[bytes]], AbstractContextManager[IO[bytes]]]] = {
    "": nullcontext,
    ".gz": lambda raw: cast("AbstractContextManager[IO[bytes]]", gzip.GzipFile(fileobj=raw)),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _open_zstd,
}


@contextmanager
def noted_damage(path: Path, intake: Intake) -> Iterator[None]:
    """Note what keeps a file's bytes from being read, such as a download that broke off; what came before counts."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        intake.note(
            "damaged compression", path, "", f"its compressed data are damaged or cut off ({error}): download it again"
        )
    except OSError as error:
        if error.errno is None:  # what pyarrow and bz2 raise for damaged data
            found = f"its compressed data are damaged or cut off ({error}): download it again"
            intake.note("damaged compression", path, "", found)
            return
        intake.note("unreadable file", path, "", f"it cannot be read: {error.strerror or error}")


@dataclass(frozen=True, slots=True)
class ByteLine:
    """A line of a file, without its end."""

    number: int
    offset: int
    """Where it begins, in bytes, decompressed."""
    data: bytes | None
    """None where it is longer than the limit."""

    @property
    def place(self) -> str:
        return f"line {self.number:,} (byte {self.offset:,})"


def byte_lines(file: IO[bytes], *, limit: int) -> Iterator[ByteLine]:
    """The lines of a file; of one with more than `limit` bytes no more than that is ever in memory."""
    number = offset = 0
    while data := file.readline(limit + 2):
        number += 1
        start, offset = offset, offset + len(data)
        is_long = len(data.rstrip(b"\r\n")) > limit
        if is_long:
            while not data.endswith(b"\n") and (data := file.readline(_BLOCK)):
                offset += len(data)
        if number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        yield ByteLine(number, start, None if is_long else data.rstrip(b"\r\n"))


def unreadable_bytes(data: bytes, *, offset: int) -> tuple[str, str] | None:
    """What keeps bytes from being text, and where in their file, which has `offset` bytes before them."""
    if b"\0" in data:
        return "NUL bytes", f"byte {offset + data.index(0):,} is NUL, which no text has"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return "not UTF-8", f"byte {offset + error.start:,} is 0x{data[error.start]:02x}, which is not UTF-8"
    return None
