"""A checkpoint in, another one on the disk out: in another format with the proof that it is the same, packed, or grown.

The room knows how each format names sizes, tensors and tokens. It streams: it never holds more than a few blocks of
rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.convert.adapter_conversion import ConvertedAdapter, convert_adapter
    from qwen7b.convert.conversion import Conversion
    from qwen7b.convert.converting import convert
    from qwen7b.convert.growing import GrownModel, check_growing, grow
    from qwen7b.convert.quantizing import PackedFolder, quantize
    from qwen7b.convert.target_format import TargetFormat

__all__ = [
    "Conversion",
    "ConvertedAdapter",
    "GrownModel",
    "PackedFolder",
    "TargetFormat",
    "check_growing",
    "convert",
    "convert_adapter",
    "grow",
    "quantize",
]

_MODULES = {
    "Conversion": "conversion",
    "ConvertedAdapter": "adapter_conversion",
    "GrownModel": "growing",
    "PackedFolder": "quantizing",
    "TargetFormat": "target_format",
    "check_growing": "growing",
    "convert": "converting",
    "convert_adapter": "adapter_conversion",
    "grow": "growing",
    "quantize": "quantizing",
}

__getattr__ = imported_when_used(__name__, _MODULES)
