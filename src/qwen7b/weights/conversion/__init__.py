"""A checkpoint in one format in, the same model in another format out, with the proof that it is the same.

Knows the formats' words for sizes, tensors and tokens, and streams: it never holds more than a few blocks of rows.
"""

from qwen7b.weights.conversion.converting import convert
from qwen7b.weights.conversion.parameters import Format

__all__ = ["Format", "convert"]
