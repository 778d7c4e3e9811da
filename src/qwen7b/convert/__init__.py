"""A checkpoint in, another one on the disk out: in another format with the proof that it is the same, or packed.

Knows the formats' words for sizes, tensors and tokens, and streams: it never holds more than a few blocks of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.convert.converting import convert
    from qwen7b.convert.quantizing import quantize
    from qwen7b.convert.target import Format

__all__ = [
    "Format",
    "convert",
    "quantize",
]

__getattr__ = imported_when_used(__name__, {"Format": "target", "convert": "converting", "quantize": "quantizing"})
