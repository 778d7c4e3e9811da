"""The weight formats: how many bits each matrix gets, and which values the 4-bit codes stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qwen7b.errors import SettingError, quoted

Codebook = tuple[int, ...]
"""Sixteen int8 values, ascending."""

LINEAR: Codebook = tuple(round(127 / 8 * level) for level in range(-8, 8))
NF4: Codebook = (-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127)
"""bitsandbytes' NF4, times 127. https://arxiv.org/abs/2305.14314"""
NON_LINEAR: Codebook = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""llama.cpp's IQ4_NL, which is denser near zero, though less so than NF4."""
PEAKED: Codebook = (-127, -103, -82, -64, -48, -32, -17, -7, 0, 8, 21, 34, 48, 65, 84, 113)
"""The k-means of weights many of which are close to zero, as in query, key and value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """How a model's matrices are packed. Embedding and head have 8 bits in every format: they suffer most."""

    name: str
    codebooks: tuple[Codebook, ...] = ()
    """The codebooks that each of the layers' matrices chooses from; if there are none, they have 8 bits."""
    searches_scales: bool = False
    """True if each group gets the scale of least error; else its largest weight becomes the largest code."""

    def codebooks_of(self, matrix: str) -> tuple[Codebook, ...]:
        """The codebooks that the model's matrix of that name may have; none for 8 bits."""
        return self.codebooks if matrix.startswith("layers.") else ()


FORMATS = {
    format.name: format
    for format in (
        Format(name="q8"),
        Format(name="q4", codebooks=(LINEAR, NF4, NON_LINEAR, PEAKED), searches_scales=True),
        Format(name="nf4", codebooks=(NF4,)),
    )
}


def find_format(name: object, *, other_names: Iterable[str] = ()) -> Format:
    """The format of that name. Raises SettingError if there is none; its message also lists `other_names`.

    >>> find_format("q4").name
    'q4'
    """
    if not isinstance(name, str) or name not in FORMATS:
        raise SettingError(
            f"a weight format must be one of {', '.join((*FORMATS, *other_names))}, found {quoted(name)}"
        )
    return FORMATS[name]
