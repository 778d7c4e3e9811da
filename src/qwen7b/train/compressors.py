"""What compressors make of held-out text when they are given the same past as a model: bits a byte, to compare with.

A compressor's cost of a text after a past is what the two take together, less what the past takes alone. gzip looks
back 32 KB and bz2 works on blocks of 900 KB, so they are given as much of the past as they can use; xz is given a
dictionary that holds all of it, and ppmd (order 16, 256 MB of memory) all of it.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping

from qwen7b.errors import MissingExtraError, SettingError

_GZIP_WINDOW = 1 << 15
_BZ2_BLOCK = 900_000 - 1000
"""The bytes of a block, less what its first step may add to them."""
_PPMD_ORDER, _PPMD_MEMORY = 16, 1 << 28


def bits_after(past: bytes, text: bytes) -> dict[str, float]:
    """The bits a byte of `text` that each compressor takes after `past`."""
    if not text:
        raise SettingError("there is no text to compress")
    return {name: 8 * bytes_after(past, text) / len(text) for name, bytes_after in COMPRESSORS.items()}


def _gzip(past: bytes, text: bytes) -> int:
    return _difference(lambda data: len(zlib.compress(data, 9)), past[-_GZIP_WINDOW:], text)


def _bz2(past: bytes, text: bytes) -> int:
    room = max(_BZ2_BLOCK - len(text), 0)
    return _difference(lambda data: len(bz2.compress(data, 9)), past[len(past) - min(room, len(past)) :], text)


def _xz(past: bytes, text: bytes) -> int:
    dictionary = max(1 << 23, 1 << (len(past) + len(text)).bit_length())
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": min(dictionary, 1536 << 20)}]
    return _difference(lambda data: len(lzma.compress(data, filters=filters)), past, text)


def _ppmd(past: bytes, text: bytes) -> int:
    try:
        import pyppmd
    except ImportError as error:
        raise MissingExtraError("pyppmd", extra="train") from error

    def size(data: bytes) -> int:
        return len(pyppmd.compress(data, max_order=_PPMD_ORDER, mem_size=_PPMD_MEMORY, variant="I"))

    return _difference(size, past, text)


def _difference(size: Callable[[bytes], int], past: bytes, text: bytes) -> int:
    return size(past + text) - (size(past) if past else 0)


COMPRESSORS: Mapping[str, Callable[[bytes, bytes], int]] = {"gzip": _gzip, "bz2": _bz2, "xz": _xz, "ppmd": _ppmd}
