"""Numbers that the kernels and their callers agree on; kernels/constants.h and library.cpp state them again.

The two are compared when the library is loaded (`CContract`).
"""

from __future__ import annotations

INTERFACE_VERSION = 5
"""The version of kernels/qwen7b.h; it is incremented whenever the meaning of something there changes."""

GROUP = 64
"""How many inputs share a scale, of weights and of activations."""
LANES = 16
"""How many rows of a matrix, or positions in a cache, are interleaved."""
CHUNK = 128
"""How many positions attention processes at once."""
SPAN = 32
"""How many numbers of a cached key or value share a scale; LANES where SPAN does not divide the head size."""
MAX_HEAD_SIZE = 256
NUM_WIDE_AXES = 8
"""How many axes of each head stay in float16 among int8 keys."""
MAX_THREADS = 256
