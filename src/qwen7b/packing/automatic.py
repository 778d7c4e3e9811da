"""Packs a model while it loads, as accurately as a few minutes allow, and shows the progress."""

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
"""A model with more weights in its layers is not calibrated while it loads: that would take ten minutes or more."""


def pack_automatically(checkpoint: Checkpoint, format: Format, write: Write) -> None:
    """Pack, with calibration and compensation if the format uses them and the model is small."""
    ids = _calibration_ids(checkpoint, format) if format.searches_scales else None
    with with_progress(write, checkpoint, format) as write:
        if ids is None:
            pack_checkpoint(checkpoint, format, write)
        else:
            pack_calibrated(checkpoint, format, ids, write, compensate=True)


def _calibration_ids(checkpoint: Checkpoint, format: Format) -> Tensor | None:
    """The token ids to calibrate with, (B, T); None, with a message, where the model is not calibrated."""
    if _layer_weights(checkpoint.config) > _MAX_WEIGHTS:
        say(
            f"A model of this size is packed by its weights alone here: 'qwen7b quantize {checkpoint.path} FOLDER "
            f"--format {format.name} --gptq' takes longer and is more accurate."
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
def with_progress(write: Write, checkpoint: Checkpoint, format: Format) -> Iterator[Write]:
    """Yield `write` with a progress bar.

    Where scales are searched, only the tensors with such scales count: the others take hardly any time.
    """
    layout = packed_layout(checkpoint.config, format)
    slow_entries = {
        name: entry
        for name, entry in layout.items()
        if not format.searches_scales or f"{name.removesuffix('.codes')}.codebook" in layout
    }
    with progress(f"Packing {checkpoint.path} as {format.name}", layout_bytes(slow_entries), "B") as report:

        def write_and_report(name: str, tensor: Tensor) -> None:
            write(name, tensor)
            if name in slow_entries:
                report(tensor.nbytes)

        yield write_and_report
