"""Chooses where a model computes, and in which format, where the user does not."""

from __future__ import annotations

import torch

from qwen7b import kernels
from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.config import Family
from qwen7b.errors import SettingError, quoted
from qwen7b.loading.packed_weights import AUTO
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.system.memory import available_bytes, gigabytes
from qwen7b.system.progress import say

NONE = "none"
"""The name for weights that are not packed."""
_BFLOAT16_CAPABILITY = (8, 0)
"""The first CUDA compute capability with bfloat16: older devices only emulate it."""


def choose_device(device: torch.device | str, checkpoint: Checkpoint, *, quantize: str | None) -> torch.device:
    """The device of that name; for "auto" the GPU where it has room for the model, else the CPU.

    Packed weights run on the CPU only, so "auto" means that for them, and a message says so where a
    GPU stays unused. Raises SettingError for a device that is not available.
    """
    if device != AUTO:
        return _check_device(device)
    best = _accelerator()
    if best is None:
        return torch.device("cpu")
    if will_be_packed(checkpoint, quantize):
        say(f"Packed weights run on the CPU, so {best.type} stays unused: with quantize none the model runs there.")
        return torch.device("cpu")
    dtype, available = default_dtype(best), available_bytes(best)
    needed = count_weights(parameter_shapes(checkpoint.config)) * dtype.itemsize
    if needed > available:
        say(
            f"Computing on the CPU: the model needs {gigabytes(needed)} as {_dtype_name(dtype)}, and "
            f"{gigabytes(available)} are free on {best.type}."
        )
        return torch.device("cpu")
    return best


def choose_quantize(*, dtype: torch.dtype | str | None, device: torch.device, quantize: str | None) -> str | None:
    """The format in which `qwen7b.load` packs weights; by default "auto" on a CPU with kernels and no dtype.

    Where the kernels are missing, one warning says so.
    """
    if quantize is not None or dtype is not None or device.type != "cpu":
        return quantize
    return None if kernels.instruction_set() is None else AUTO


def will_be_packed(checkpoint: Checkpoint, quantize: str | None) -> bool:
    """Whether a checkpoint loads with packed weights. Raises SettingError for "none" where they are already."""
    if quantize == NONE and checkpoint.packed is not None:
        folder = Family.QWEN if checkpoint.config.family is Family.QWEN else Family.QWEN2
        raise SettingError(
            f"{checkpoint.path} is packed as {checkpoint.packed.format.name} already, found quantize {NONE!r}: leave "
            f"that out, or make floats of it by 'qwen7b convert {checkpoint.path} FOLDER --to {folder}'"
        )
    return quantize not in (None, NONE) or checkpoint.packed is not None


def default_dtype(device: torch.device | str) -> torch.dtype:
    """The dtype in which a model is loaded where it fits."""
    device = torch.device(device)
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < _BFLOAT16_CAPABILITY:
        return torch.float16
    return {"cuda": torch.bfloat16, "mps": torch.float16}.get(device.type, torch.float32)


def _accelerator() -> torch.device | None:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps") if torch.backends.mps.is_available() else None


def _check_device(device: torch.device | str) -> torch.device:
    try:
        checked = torch.device(device)
        torch.empty(0, device=checked)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError, OverflowError) as error:
        name = quoted(str(device) if isinstance(device, torch.device) else device)
        raise SettingError(f"device {name} is not available here: use 'auto' or 'cpu'") from error
    if checked.type == "meta":
        raise SettingError("device 'meta' holds no weights, so nothing can be computed there: use 'auto' or 'cpu'")
    return checked


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
