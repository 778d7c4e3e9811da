"""Packed matrices and the native CPU kernels that work on them, each beside its readable reference in PyTorch.

Tensors in, tensors out. Knows no layer, no model and no file.
"""

from qwen7b.kernels.constants import GROUP, LANES
from qwen7b.kernels.limits import Limits, measure_limits
from qwen7b.kernels.linear import linear, linear_reference, quantize_activations
from qwen7b.kernels.matrix import PackedMatrix
from qwen7b.kernels.native import (
    available_instruction_sets,
    instruction_set,
    num_threads,
    repack,
    set_num_threads,
    use_instruction_set,
)

__all__ = [
    "GROUP",
    "LANES",
    "Limits",
    "PackedMatrix",
    "available_instruction_sets",
    "instruction_set",
    "linear",
    "linear_reference",
    "measure_limits",
    "num_threads",
    "quantize_activations",
    "repack",
    "set_num_threads",
    "use_instruction_set",
]
