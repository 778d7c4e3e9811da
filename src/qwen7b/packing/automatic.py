"""How a model is packed while it loads, as exactly as a few minutes allow, and what a user sees of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.packed_file import layout_bytes
from qwen7b.config import ModelConfig
from qwen7b.errors import Qwen7bError
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.packed.formats import Format
from qwen7b.packed.layout import Write, packed_layout
from qwen7b.packing.calibration import default_text, pack_calibrated, token_sequences
from qwen7b.packing.packing import pack_checkpoint
from qwen7b.system.progress import progress, say
from qwen7b.text import load_tokenizer

_MAX_WEIGHTS = 1_000_000_000
"""A model with more in its layers is not calibrated while it loads: that would take ten minutes and more."""


def pack_automatically(checkpoint: Checkpoint, format: Format, write: Write) -> None:
    """Calibrated and compensated where the format has use for it and the model is small, else by its weights alone."""
    ids = _calibration_ids(checkpoint, format) if format.searches_scales else None
    with shown(write, checkpoint, format) as write:
        if ids is None:
            pack_checkpoint(checkpoint, format, write)
        else:
            pack_calibrated(checkpoint, format, ids, write, compensate=True)


def _calibration_ids(checkpoint: Checkpoint, format: Format) -> Tensor | None:
    """What to calibrate with, (B, T); None, saying why, where that is not done."""
    if _layer_weights(checkpoint.config) > _MAX_WEIGHTS:
        say(
            f"A model of this size is packed by its weights alone here: 'qwen7b quantize {checkpoint.path} FOLDER "
            f"--format {format.name} --gptq' takes longer and is more exact."
        )
        return None
    try:
        tokenizer = load_tokenizer(checkpoint.path)
    except Qwen7bError as error:
        say(f"Packing by the weights alone, as there is no tokenizer to calibrate with: {error}.")
        return None
    return token_sequences(tokenizer, default_text(), trained_length=checkpoint.config.trained_length)


def packed_in_memory(checkpoint: Checkpoint, format: Format) -> dict[str, Tensor]:
    """A checkpoint's packed tensors by name."""
    tensors: dict[str, Tensor] = {}
    pack_automatically(checkpoint, format, tensors.__setitem__)
    return tensors


def _layer_weights(config: ModelConfig) -> int:
    shapes = parameter_shapes(config)
    return count_weights({name: shape for name, shape in shapes.items() if name.startswith("layers.")})


@contextmanager
def shown(write: Write, checkpoint: Checkpoint, format: Format) -> Iterator[Write]:
    """The same `write`, with a bar.

    Where scales are searched, only tensors that this is done for count: the others take no time beside them.
    """
    layout = packed_layout(checkpoint.config, format)
    counted = {
        name: entry
        for name, entry in layout.items()
        if not format.searches_scales or f"{name.removesuffix('.codes')}.codebook" in layout
    }
    with progress(f"Packing {checkpoint.path} as {format.name}", layout_bytes(counted), "B") as report:

        def write_shown(name: str, tensor: Tensor) -> None:
            write(name, tensor)
            if name in counted:
                report(tensor.nbytes)

        yield write_shown
