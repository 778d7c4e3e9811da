"""Float weights in, packed weights out: formats, how they are rounded, and the layers that hold them.

Knows no checkpoint and no text.
"""

from qwen7b.quant.linear import PackedEmbedding, PackedLinear, RowEmbedding

__all__ = ["PackedEmbedding", "PackedLinear", "RowEmbedding"]
