"""The header of a GGUF file: its metadata and where each tensor lies. Reads no tensor, knows no model.

The `gguf` package's own reader takes seconds over a vocabulary of 150,000 tokens; this one takes a fraction of one.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from qwen7b.errors import CheckpointError, UnsupportedError, counted, quoted
from qwen7b.system.regular_file import open_regular

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

# The format's numeric value types by their ids, as struct formats.
_NUMERIC_TYPES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING_TYPE, _ARRAY_TYPE = 8, 9
_LENGTH = struct.Struct("<Q")

_MAX_DIMENSIONS = 4
_MAX_ARRAY_DEPTH = 4
_VOCABULARY = ("tokenizer.ggml.tokens", "tokenizer.ggml.merges")
# Real headers stay below 20 MB, 1,000 tensors and 1,000,000 list items. Limits keep a hostile one from filling the
# memory with Python objects, which take up to fifty times as many bytes as the file.
_MAX_HEADER_BYTES = 1 << 26
_MAX_ITEMS = 1 << 21
_MAX_ENTRIES = 1 << 16
_MIN_ENTRY_BYTES = 13  # the length of a name, a type id, and a number of one byte


@dataclass(frozen=True, slots=True)
class GGUFTensorInfo:
    """Where a tensor lies in the file; the reader has checked that the file contains it."""

    name: str
    shape: tuple[int, ...]
    """The sizes of the axes in torch's order: rows first, the axis that is contiguous in the file last."""
    type: GGMLQuantizationType
    offset: int
    """Bytes from the start of the file."""
    num_bytes: int


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    metadata: dict[str, Any]
    """Numbers, booleans, strings, and lists of these."""
    tensors: dict[str, GGUFTensorInfo]


def read_gguf_header(path: str | Path, *, vocabulary: bool = True) -> GGUFHeader:
    """Read the header of a little-endian GGUF file of version 2 or 3.

    Without `vocabulary` the tokens and merges, which make up nearly all of a header, are skipped.

    Raises CheckpointError for a damaged or truncated file, UnsupportedError for another byte order, version or
    tensor type.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            magic = file.read(4)
            if magic != b"GGUF":
                raise CheckpointError(f"{path} is not a GGUF file: it begins with {quoted(magic)}, not b'GGUF'")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _HeaderReader(path, data, skipped_keys=() if vocabulary else _VOCABULARY).read()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


class _HeaderReader:
    """A position in the mapped file; every read advances it and checks that the file has the bytes."""

    def __init__(self, path: Path, data: mmap.mmap, *, skipped_keys: tuple[str, ...] = ()) -> None:
        self.path = path
        self.skipped_keys = skipped_keys
        self.data = data
        self.position = len(b"GGUF")
        self.end = min(len(data), _MAX_HEADER_BYTES)
        self.items_left = _MAX_ITEMS

    def read(self) -> GGUFHeader:
        version = self.read_number("I")
        if version & 0xFFFF == 0:
            raise UnsupportedError(f"{self.path} is a big-endian GGUF file: convert it to little-endian first")
        if version not in (2, 3):
            raise UnsupportedError(f"{self.path} is GGUF version {version}: qwen7b reads versions 2 and 3")
        num_tensors, num_values = self.read_number("Q"), self.read_number("Q")
        for count, noun in ((num_values, "fields"), (num_tensors, "tensors")):
            self.require_bytes(count * _MIN_ENTRY_BYTES)
            if count > _MAX_ENTRIES:
                self.fail(f"it claims {count} {noun}, more than {_MAX_ENTRIES}")
        metadata = self.read_metadata(num_values)
        return GGUFHeader(metadata, self.read_tensors(num_tensors, self.alignment(metadata)))

    def read_metadata(self, num_values: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for _ in range(num_values):
            [key] = self.read_strings(1)
            if key in metadata:
                self.fail(f"it says {quoted(key)} twice")
            type_id = self.read_number("I")
            if key in self.skipped_keys and type_id == _ARRAY_TYPE:
                self.skip_array()
            else:
                metadata[key] = self.read_values(type_id, 1)[0]
        return metadata

    def read_tensors(self, num_tensors: int, alignment: int) -> dict[str, GGUFTensorInfo]:
        entries = []
        for _ in range(num_tensors):
            [name] = self.read_strings(1)
            num_dimensions = self.read_number("I")
            if num_dimensions > _MAX_DIMENSIONS:
                self.fail(f"tensor {quoted(name)} has {counted(num_dimensions, 'dimension')}")
            dimensions = self.read_numbers("Q", num_dimensions)
            entries.append((name, dimensions, self.read_number("I"), self.read_number("Q")))
        data_start = -(-self.position // alignment) * alignment
        tensors: dict[str, GGUFTensorInfo] = {}
        for name, dimensions, type_id, offset in entries:
            if name in tensors:
                self.fail(f"it has two tensors named {quoted(name)}")
            tensors[name] = self.tensor_info(name, dimensions, type_id, data_start + offset)
        return tensors

    def tensor_info(self, name: str, dimensions: list[int], type_id: int, offset: int) -> GGUFTensorInfo:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType  # brings numpy, which a chat's start does without

        try:
            type = GGMLQuantizationType(type_id)
        except ValueError:
            raise UnsupportedError(
                f"{self.path}: tensor {quoted(name)} is of ggml type {type_id}, which the installed gguf package does "
                "not know: try pip install --upgrade gguf"
            ) from None
        block_size, block_bytes = GGML_QUANT_SIZES[type]
        if dimensions and dimensions[0] % block_size:
            self.fail(
                f"tensor {quoted(name)} has rows of {dimensions[0]}, not a multiple of {type.name}'s {block_size}"
            )
        if not dimensions or 0 in dimensions:
            self.fail(f"tensor {quoted(name)} of dimensions {dimensions} has no elements")
        num_bytes = prod(dimensions) // block_size * block_bytes
        if offset + num_bytes > len(self.data):
            self.fail(f"tensor {quoted(name)} ends at byte {offset + num_bytes} of a file of {len(self.data)}")
        return GGUFTensorInfo(name, tuple(reversed(dimensions)), type, offset, num_bytes)

    def alignment(self, metadata: dict[str, Any]) -> int:
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            self.fail(f"general.alignment is {quoted(alignment)}, not a power of two")
        return alignment

    def read_values(self, type_id: int, count: int, depth: int = 0) -> list[Any]:
        """`count` values of one type; nested arrays become nested lists."""
        self.require_bytes(count * struct.calcsize(_NUMERIC_TYPES.get(type_id, "Q")))
        self.items_left -= count
        if self.items_left < 0:
            self.fail(f"its lists have more than {_MAX_ITEMS} items by byte {self.position}")
        if type_id in _NUMERIC_TYPES:
            return self.read_numbers(_NUMERIC_TYPES[type_id], count)
        if type_id == _STRING_TYPE:
            return self.read_strings(count)
        if type_id != _ARRAY_TYPE:
            self.fail(f"byte {self.position} names a value type {type_id}, which GGUF does not have")
        if depth == _MAX_ARRAY_DEPTH:
            self.fail(f"byte {self.position} nests arrays more than {depth} deep")
        return [self.read_values(self.read_number("I"), self.read_number("Q"), depth + 1) for _ in range(count)]

    def skip_array(self) -> None:
        type_id, count = self.read_number("I"), self.read_number("Q")
        if type_id != _STRING_TYPE:
            self.read_values(type_id, count, 1)
            return
        data, position, last = self.data, self.position, self.end - _LENGTH.size
        for _ in range(count):
            if position > last:
                self.fail_truncated(position - self.position)
            position += _LENGTH.size + _LENGTH.unpack_from(data, position)[0]
        if position > self.end:
            self.fail_truncated(position - self.position)
        self.position = position

    def require_bytes(self, num_bytes: int) -> None:
        if num_bytes > self.end - self.position:
            self.fail_truncated(num_bytes)

    def read_number(self, format: str) -> int:
        number = self.read_numbers(format, 1)[0]
        assert isinstance(number, int)
        return number

    def read_numbers(self, format: str, count: int) -> list[Any]:
        start = self.position
        num_bytes = count * struct.calcsize(f"<{format}")
        self.require_bytes(num_bytes)
        self.position = start + num_bytes
        return list(struct.unpack_from(f"<{count}{format}", self.data, start))

    def read_strings(self, count: int) -> list[str]:
        data, position, end = self.data, self.position, self.end
        if count * _LENGTH.size > end - position:
            self.fail_truncated(count * _LENGTH.size)
        strings = []
        try:
            for _ in range(count):
                start = position + _LENGTH.size
                position = start + _LENGTH.unpack_from(data, position)[0]
                if position > end:
                    self.position = start
                    self.fail_truncated(position - start)
                strings.append(data[start:position].decode())
        except UnicodeDecodeError:
            self.fail(f"the string at byte {start} is not UTF-8")
        except struct.error:
            self.position = position
            self.fail_truncated(_LENGTH.size)
        self.position = position
        return strings

    def fail_truncated(self, num_bytes: int) -> NoReturn:
        self.fail(
            f"{counted(num_bytes, 'byte')} should follow byte {self.position}, but the header ends by byte {self.end}"
        )

    def fail(self, reason: str) -> NoReturn:
        raise CheckpointError(f"{self.path} is damaged or incomplete: {reason}; download it again")
