"""What a user sees of packing: how far it is and the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.packed_file import layout_bytes
from qwen7b.packed.formats import Format
from qwen7b.packed.layout import Write, packed_layout
from qwen7b.system.progress import progress


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
