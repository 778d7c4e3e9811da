"""Numbers that the kernels and their callers agree on; kernels/constants.h and library.cpp state them again.

The two are compared when the library is loaded (`Contract`).
"""

from __future__ import annotations

INTERFACE_VERSION = 4
"""The version of kernels/qwen7b.h; it counts up whenever the meaning of something there changes."""

GROUP = 64
"""Inputs that share a scale, of weights and of activations."""
LANES = 16
"""Rows of a matrix, or positions in a cache, that are interleaved."""
CHUNK = 128
"""Positions that attention takes at once."""
SPAN = 32
"""Numbers of a cached key or value that share a scale; LANES where it does not divide the head size."""
MAX_HEAD_SIZE = 256
NUM_WIDE_AXES = 8
"""Axes of each head that stay in float16 among int8 keys."""
MAX_THREADS = 256
