"""Checksums of a safetensors file's tensors, one CRC-32 each in its metadata. They show damage, and no forgery.

Where the numbers are read block by block a file that a disk cannot read is an error; where they are mapped the system
would end the process.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.errors import CheckpointError, and_more, quoted
from qwen7b.files.safetensors_file import read_safetensors, safetensors_header
from qwen7b.files.stored import RawTensor, file_size, opened, read_bytes
from qwen7b.system.progress import progress
from qwen7b.system.workers import workers

_BLOCK_BYTES = 1 << 20
_UNKNOWN = "0" * 8


def checksum(data: bytes | memoryview) -> str:
    """
    >>> checksum(b"qwen")
    '11f9b58d'
    """
    return f"{zlib.crc32(data):08x}"


def joined_checksum(parts: Iterable[tuple[str, int]]) -> str:
    """The checksum of parts one after the other, each given by its own and its number of bytes.

    A part's is multiplied by x to the number of bits that follow, modulo the CRC's polynomial, as zlib's
    `crc32_combine` does, which Python leaves out.

    >>> joined_checksum([(checksum(b"qw"), 2), (checksum(b"en"), 2)]) == checksum(b"qwen")
    True
    """
    total = 0
    for own, num_bytes in parts:
        total = _times(_power_of_x(8 * num_bytes), total) ^ int(own, 16)
    return f"{total:08x}"


def _power_of_x(exponent: int) -> int:
    """Modulo the CRC's polynomial, with the coefficient of x⁰ in the highest of 32 bits."""
    power, square = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            power = _times(power, square)
        square = _times(square, square)
        exponent >>= 1
    return power


def _times(left: int, right: int) -> int:
    product = 0
    for bit in range(31, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (0xEDB88320 if right & 1 else 0)
    return product


def checksum_fields(names: Iterable[str], sums: Mapping[str, str]) -> dict[str, str]:
    """The metadata of tensors of these names; it is equally long for those whose sum is not known yet."""
    return {_field(name): sums.get(name, _UNKNOWN) for name in names}


def check_tensors(path: Path, *, remedy: str = "copy it again from where it is whole, or make it again") -> bool:
    """Read every tensor and compare it with its checksum; False where the file has none.

    Raises CheckpointError, which ends in the remedy, where one is not what was written or alone has no checksum.
    """
    stored, metadata = read_safetensors(path)
    if not any(_field(name) in metadata for name in stored):
        return False
    sizes = {name: math.prod(tensor.shape) * tensor.dtype.itemsize for name, tensor in stored.items()}
    largest_first = sorted(stored, key=sizes.__getitem__, reverse=True)
    damaged = []
    with (
        workers(caller_waits=True) as threads,
        progress(f"Checking {path} by its checksums", sum(sizes.values()), "B") as report,
    ):
        checksums = threads.results(_checksum_in_file, ((stored[name], sizes[name]) for name in largest_first))
        for name, actual in zip(largest_first, checksums, strict=True):
            report(sizes[name])
            if metadata.get(_field(name)) != actual:
                damaged.append(name)
    if damaged:
        raise CheckpointError(
            f"{path} is damaged: tensor {quoted(min(damaged))} is not what its checksum was made "
            f"of{and_more(len(damaged))}: {remedy}"
        )
    return True


def content_digest(path: Path) -> str | None:
    """What tells the tensors of a file from all others, by their checksums; None where it has none."""
    stored, metadata = read_safetensors(path)
    sums = {name: (metadata.get(_field(name)), tensor.shape, str(tensor.dtype)) for name, tensor in stored.items()}
    if any(total is None for total, _, _ in sums.values()):
        return None
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """What tells tensors from all others, by their checksums."""
    sums = {name: (checksum(bytes_of(tensor)), tensor.shape, str(tensor.dtype)) for name, tensor in tensors.items()}
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def write_checked(path: Path, tensors: Mapping[str, Tensor], *, format: str | None = None) -> None:
    """Write a file of tensors on the CPU, with their checksums. Raises OSError.

    `format` is "pt" in files for other programs, some of which ask for it.
    """
    contents = {name: bytes_of(tensor) for name, tensor in tensors.items()}
    sums = {name: checksum(content) for name, content in contents.items()}
    entries = [(name, tensor.dtype, tensor.shape) for name, tensor in tensors.items()]
    own = {} if format is None else {"format": format}
    header, _ = safetensors_header(entries, metadata=own | checksum_fields(sums, sums))
    with path.open("wb") as file:
        file.write(header)
        file.writelines(contents.values())


def read_checked(path: Path) -> dict[str, Tensor]:
    """Read all tensors of such a file. Raises CheckpointError where one is not what was written."""
    stored, metadata = read_safetensors(path)
    content = read_bytes(path, offset=0, num_bytes=file_size(path))
    tensors = {name: tensor.view(content) for name, tensor in stored.items()}
    for name, tensor in tensors.items():
        if metadata.get(_field(name)) != checksum(bytes_of(tensor)):
            raise CheckpointError(f"{path} is damaged: tensor {quoted(name)} is not what its checksum was made of")
    return tensors


def bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's bytes as a file has them."""
    return tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data


def _checksum_in_file(tensor: RawTensor, num_bytes: int) -> str:
    block = bytearray(min(num_bytes, _BLOCK_BYTES))
    crc = 0
    with opened(tensor.path) as file:
        file.seek(tensor.offset)
        while num_bytes and (count := file.readinto(memoryview(block)[: min(num_bytes, len(block))])):
            crc = zlib.crc32(memoryview(block)[:count], crc)
            num_bytes -= count
    if num_bytes:
        raise CheckpointError(f"{tensor.path} ends before its data does: download it again")
    return f"{crc:08x}"


def _field(name: str) -> str:
    return f"{name}.crc32"
