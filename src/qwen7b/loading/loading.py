"""Fills a model from a checkpoint, a block of rows at a time, so that little but the model itself is in memory."""

from __future__ import annotations

import mmap
import warnings
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.adapters.adapted import with_adapter
from qwen7b.adapters.adapter import Adapter
from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.checks import check_weights
from qwen7b.checkpoint.parameters import Parameters, parameters_of
from qwen7b.config import ModelConfig
from qwen7b.config.checked import flag
from qwen7b.config.long_context import extended
from qwen7b.errors import ResourceError, SettingError, quoted
from qwen7b.files.stored import DTYPES, RawTensor, StoredTensor, map_file, row_ranges
from qwen7b.hub.locate import locate
from qwen7b.loading.packed_weights import AUTO, load_packed, packed_bytes
from qwen7b.loading.placement import choose_device, default_dtype, will_be_packed
from qwen7b.model import Transformer
from qwen7b.model.empty_model import empty_model
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.system.memory import available_bytes, gigabytes
from qwen7b.system.workers import workers


def load_model(
    checkpoint: str | Path | Checkpoint,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = AUTO,
    quantize: str | None = None,
    keep: bool = False,
    mapped: bool = False,
    long_context: str | None = None,
    context_length: int | None = None,
    adapter: str | Path | Adapter | None = None,
) -> Transformer:
    """The model of a checkpoint, named as for `qwen7b.load`, in eval mode.

    `device` is "cpu", "cuda", "cuda:1", "mps" or "auto": CUDA if it is available and has room for the model, else MPS,
    else the CPU. `dtype` is float32, bfloat16 or float16, torch's or by name; None chooses float32 on a CPU (bfloat16,
    with a warning, where only that fits), bfloat16 on CUDA (float16 before compute capability 8) and float16 on MPS.
    Loading needs a few dozen megabytes beside the model's own size.

    `quantize` packs the weights on the way: "q8", "q4", "nf4", or "auto" for q8 where it fits with room to spare and
    q4 where not; None or "none" leaves them in `dtype`. Packed weights run on a CPU and compute in float32. With `keep`
    they stay in the cache for the next start. A checkpoint that is packed already loads as it is, once it
    has been compared with its checksums.

    `long_context` is the method to go beyond the trained length, instead of the checkpoint's own: "none", or
    parts joined by "+", one of "ntk", "linear" and "yarn" (both also with a factor, as in "yarn:4"), then "logn", and
    "window" or "window:2048" (of as many tokens in every layer). The context is then 4 times the trained length, or as
    many times as the factor says, and never shorter than the checkpoint's own; `context_length` sets it.

    `adapter` is a LoRA adapter in PEFT's format, or its folder: it is added to the weights as they are read, also where
    they are then packed, which is not kept.

    `mapped` maps weights that a safetensors file holds in the model's dtype: they are read when they are used, and are
    shared with other processes, but nobody may overwrite the file while the model is in use.

    Raises CheckpointError where tensors are missing, of other shapes than the config says or no numbers, ResourceError
    where the model does not fit, SettingError for another dtype, format or method or a device that is not there.

    >>> model = load_model("Qwen-7B-Chat", dtype=torch.bfloat16)  # doctest: +SKIP
    """
    flag("keep", keep)
    flag("mapped", mapped)
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = open_checkpoint(locate(checkpoint))
    if adapter is not None:
        checkpoint, keep = with_adapter(checkpoint, adapter), False
    device = choose_device(device, checkpoint, quantize=quantize)
    config = extended(checkpoint.config, method=long_context, context_length=context_length)
    check_weights(checkpoint)
    if will_be_packed(checkpoint, quantize):
        return load_packed(checkpoint, quantize, config=config, keep=keep, dtype=dtype, device=device)
    dtype = choose_dtype(config, dtype, device=device)
    model, shapes = empty_model(config), parameter_shapes(config)
    parameters = parameters_of(checkpoint)
    with torch.inference_mode(False):  # in a caller's inference mode the threads could not write to the parameters
        state = _mapped(parameters, dtype) if mapped and device.type == "cpu" else {}
        missing = {name: stored for name, stored in parameters.items() if name not in state}
        state |= {name: torch.empty(shapes[name], dtype=dtype, device=device) for name in missing}
        with workers() as threads:
            threads.run(
                _fill,
                (
                    (state[name], stored, start, stop)
                    for name, stored in missing.items()
                    for start, stop in row_ranges(stored)
                ),
            )
    # With a tied head the state has no entry for it; it is tied again below.
    model.load_state_dict(state, assign=True, strict=not checkpoint.config.tied_head)
    if checkpoint.config.tied_head:
        model.head.weight = model.embedding.weight
    return model.eval()


def _mapped(parameters: Parameters, dtype: torch.dtype) -> dict[str, Tensor]:
    """The parameters whose bytes in the files are those that the model needs, mapped."""
    maps: dict[Path, mmap.mmap] = {}
    mapped = {}
    for name, stored in parameters.items():
        if isinstance(stored, RawTensor) and stored.dtype == dtype and stored.offset % dtype.itemsize == 0:
            if stored.path not in maps:
                maps[stored.path] = map_file(stored.path)
            mapped[name] = stored.view(maps[stored.path])
    return mapped


def _fill(parameter: Tensor, stored: StoredTensor, start: int, stop: int) -> None:
    parameter[start:stop].copy_(stored.read_rows(start, stop))


def choose_dtype(config: ModelConfig, dtype: torch.dtype | str | None = None, *, device: torch.device) -> torch.dtype:
    """The dtype in which `load_model` loads a model of this config, given the memory that is free now.

    Raises SettingError for another dtype, ResourceError where the model does not fit.
    """
    if isinstance(dtype, str):
        dtype = DTYPES.get(dtype, dtype)
    if dtype is not None and (isinstance(dtype, str) or dtype not in DTYPES.values()):
        raise SettingError(f"dtype must be one of {', '.join(DTYPES)}, found {quoted(dtype)}")
    available = available_bytes(device)
    chosen = dtype or default_dtype(device)
    num_weights = count_weights(parameter_shapes(config))
    if num_weights * chosen.itemsize <= available:
        return chosen
    smaller = num_weights * torch.bfloat16.itemsize
    if dtype is None and smaller <= available:
        warnings.warn(
            f"{gigabytes(num_weights * chosen.itemsize)} for {chosen} do not fit the {gigabytes(available)} that are "
            "free: loading as bfloat16",
            stacklevel=3,
        )
        return torch.bfloat16
    if smaller <= available:
        remedy = f"load it as bfloat16 ({gigabytes(smaller)})"
    elif device.type == "cpu" and (packed := packed_bytes(config, "q4")) <= available:
        remedy = f"quantize it as q4 ({gigabytes(packed)})"
    else:
        remedy = "free some memory or load a smaller model"
    raise ResourceError(
        f"the model needs {gigabytes(num_weights * chosen.itemsize)} as {str(chosen).removeprefix('torch.')} and "
        f"{gigabytes(available)} of memory are free: {remedy}"
    )
