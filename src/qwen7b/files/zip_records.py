"""Where the records of an uncompressed zip file lie, by its own tables.

torch.save writes such files, but other programs may have rewritten one: nothing is assumed to be where torch puts it,
and tables that contradict each other are refused. Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError, UnsupportedError, quoted
from qwen7b.files.stored import opened

_LOCAL, _CENTRAL = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I")
_END, _END_64, _LOCATOR_64 = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q"), struct.Struct("<4sIQI")
_IN_ZIP64 = 0xFFFFFFFF
"""Marks a number that is in the zip64 field instead."""
_ENCRYPTED, _SIZES_FOLLOW = 1, 8
# A shard has a record for each tensor: limits far above real files, and small enough for the memory.
_MAX_RECORDS = 1 << 16
_MAX_TABLE = 1 << 24


@dataclass(frozen=True, slots=True)
class ZipRecord:
    name: str
    begin: int
    """The offset of its header in the file."""
    offset: int
    """The offset of its bytes."""
    size: int


def read_zip_records(path: Path) -> dict[str, ZipRecord]:
    """The records by name. Raises CheckpointError where the tables are invalid, UnsupportedError for compression."""
    with opened(path) as file:
        return _Reader(path, file).records()


class _Reader:
    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.file = file
        self.size = os.fstat(file.fileno()).st_size

    def records(self) -> dict[str, ZipRecord]:
        count, directory_offset, directory_size = self.directory()
        if count > _MAX_RECORDS or directory_size > _MAX_TABLE:
            raise self.damaged(f"its table claims {count} records in {directory_size} bytes")
        directory = self.read(directory_offset, directory_size)
        records: dict[str, ZipRecord] = {}
        position = 0
        for _ in range(count):
            if position + _CENTRAL.size > len(directory):
                raise self.damaged(f"its table ends before {count} records")
            fields = _CENTRAL.unpack_from(directory, position)
            name_end = position + _CENTRAL.size + fields[10]
            extra_end = name_end + fields[11]
            record = self.record(fields, directory[position + _CENTRAL.size : name_end], directory[name_end:extra_end])
            if record.name in records:
                raise self.damaged(f"it has two records {quoted(record.name)}")
            records[record.name] = record
            position = extra_end + fields[12]
        end = 0
        for record in sorted(records.values(), key=lambda record: record.begin):
            if record.begin < end or record.offset + record.size > directory_offset:
                raise self.damaged(f"record {quoted(record.name)} overlaps something else")
            end = record.offset + record.size
        return records

    def directory(self) -> tuple[int, int, int]:
        """The number of records, and the offset and size of the central directory."""
        tail_offset = max(0, self.size - _END.size - 0xFFFF)
        tail = self.read(tail_offset, self.size - tail_offset)
        position = len(tail)
        while (position := tail.rfind(b"PK\5\6", 0, position)) >= 0:  # a comment may hold these letters too
            if position + _END.size <= len(tail):
                _, disk, first_disk, _, count, size, offset, comment = _END.unpack_from(tail, position)
                if position + _END.size + comment == len(tail) and disk == first_disk:
                    return self.directory_64(tail_offset + position) or (count, offset, size)
        raise self.damaged("it does not end as a zip file does")

    def directory_64(self, end: int) -> tuple[int, int, int] | None:
        """The same from the zip64 tables of files that may exceed 4 GB; None where there are none."""
        if end < _LOCATOR_64.size:
            return None
        magic, _, offset, _ = _LOCATOR_64.unpack(self.read(end - _LOCATOR_64.size, _LOCATOR_64.size))
        if magic != b"PK\6\7":
            return None
        magic, *_, count, directory_size, directory_offset = _END_64.unpack(self.read(offset, _END_64.size))
        if magic != b"PK\6\6":
            raise self.damaged("the end of its table is not where it says")
        return count, directory_offset, directory_size

    def record(self, fields: tuple[Any, ...], raw_name: bytes, extra: bytes) -> ZipRecord:
        """A record of the central directory, checked against the header beside its data."""
        magic, _, _, flags, method, _, _, _, stored_size, size, _, _, _, _, _, _, offset = fields
        name = raw_name.decode(errors="replace")
        if magic != b"PK\1\2":
            raise self.damaged("its table has an invalid entry")
        size, stored_size, offset = self.zip64_numbers(extra, size, stored_size, offset)
        if method or flags & _ENCRYPTED or size != stored_size:
            raise UnsupportedError(
                f"{self.path}: record {quoted(name)} is compressed or encrypted, which torch never does: load the file "
                "with the program that made it, and save it again with torch.save"
            )
        header = _LOCAL.unpack(self.read(offset, _LOCAL.size))
        magic, _, local_flags, local_method, _, _, _, local_stored, local_size, name_size, extra_size = header
        begin = offset + _LOCAL.size + name_size + extra_size
        local = self.read(offset + _LOCAL.size, name_size + extra_size)
        if magic != b"PK\3\4" or local_method != method or local[:name_size] != raw_name:
            raise self.damaged(f"record {quoted(name)} is not where its table says")
        local_size, local_stored, _ = self.zip64_numbers(local[name_size:], local_size, local_stored, 0)
        if not local_flags & _SIZES_FOLLOW and (local_size, local_stored) != (size, size):
            raise self.damaged(f"record {quoted(name)} is of {size} bytes by its table and {local_size} by its header")
        return ZipRecord(name, offset, begin, size)

    def zip64_numbers(self, extra: bytes, size: int, stored_size: int, offset: int) -> list[int]:
        """The three numbers, with those that do not fit 32 bits taken from the zip64 field."""
        numbers = [size, stored_size, offset]
        while extra.strip(b"\0"):  # some programs pad with zeros
            kind, length = struct.unpack("<2H", extra[:4].ljust(4, b"\xff"))
            if 4 + length > len(extra):
                raise self.damaged("the extra field of a record ends within an entry")
            values = extra[4 : 4 + length]
            for index, number in enumerate(numbers):
                if kind == 1 and number == _IN_ZIP64 and len(values) >= 8:
                    numbers[index] = int.from_bytes(values[:8], "little")
                    values = values[8:]
            extra = extra[4 + length :]
        return numbers

    def read(self, offset: int, num_bytes: int) -> bytes:
        if offset + num_bytes > self.size:
            raise self.damaged(f"it names byte {offset + num_bytes} of a file of {self.size}")
        self.file.seek(offset)
        data = self.file.read(num_bytes)
        if len(data) < num_bytes:
            raise self.damaged(f"it ends at byte {offset + len(data)}")
        return data

    def damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.path} is damaged or incomplete: {reason}; download it again")
