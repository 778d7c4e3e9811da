"""Caches packed weights, so that a model is packed at its first start only."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.packed_file import layout_bytes, map_packed, writing_packed
from qwen7b.checkpoint.packed_folder import Packed, unpacked
from qwen7b.errors import CheckpointError, ResourceError
from qwen7b.packed.formats import Format
from qwen7b.packed.layout import packed_layout
from qwen7b.packing.automatic import pack_automatically, packed_in_memory
from qwen7b.packing.places import identity, kept_path
from qwen7b.packing.verdicts import check_once, note_whole
from qwen7b.system.progress import say
from qwen7b.system.storage import check_disk_space, only_one_process, storage_errors


def kept_tensors(checkpoint: Checkpoint, format: Format) -> tuple[dict[str, Tensor], Path | None]:
    """A checkpoint's packed tensors, mapped from the cache, and the file; packed and put there unless they are there.

    Where the cache cannot be written they stay in memory, with a warning, and there is no file.
    """
    path = kept_path(checkpoint.path, format.name)
    source = identity(checkpoint.path)
    if (tensors := _whole(path, checkpoint, format, source)) is not None:
        return tensors, path
    layout = packed_layout(checkpoint.config, format)
    try:
        with storage_errors(path.parent, variable="QWEN7B_CACHE"):
            check_disk_space(path.parent, layout_bytes(layout), variable="QWEN7B_CACHE")
            path.parent.mkdir(parents=True, exist_ok=True)
            with only_one_process(path.parent, what="a model", doing="packing"):
                if (tensors := _whole(path, checkpoint, format, source)) is not None:
                    return tensors, path
                if path.exists():
                    say(f"{path} is of another version or of older weights, or damaged: packing them again.")
                partial = path.with_name(f"{path.name}.part")
                try:
                    say(f"Weights are packed once, into {path.parent}: later starts as {format.name} find them.")
                    with writing_packed(partial, config=checkpoint.config, format=format, source=source) as write:
                        started = time.monotonic()
                        pack_automatically(checkpoint, format, write)
                        say(f"Packed in {time.monotonic() - started:.0f} s.")
                    if path.is_dir():
                        raise ResourceError(f"{path} is a folder, where a file should be")
                    partial.replace(path)
                    note_whole(path)
                finally:
                    partial.unlink(missing_ok=True)
                # Mapped before the lock is released and another process may remove the file: what is mapped stays.
                return map_packed(path, config=checkpoint.config, format=format, source=source), path
    except ResourceError as error:
        warnings.warn(f"the packed weights are not kept, and will be packed again: {error}", stacklevel=2)
        return packed_in_memory(checkpoint, format), None


def packed_checkpoint(checkpoint: Checkpoint, format: Format) -> Checkpoint:
    """A checkpoint with its weights packed in a format, as `kept_tensors` has them."""
    tensors, _ = kept_tensors(checkpoint, format)
    packed = Packed(format=format, tensors=tensors)
    return replace(checkpoint, tensors=unpacked(checkpoint.config, packed), packed=packed)


def _whole(path: Path, checkpoint: Checkpoint, format: Format, source: str) -> dict[str, Tensor] | None:
    """The kept tensors, if they are there, whole, of this version and of this source."""
    if not path.is_file():
        return None
    try:
        tensors = map_packed(path, config=checkpoint.config, format=format, source=source)
        check_once(path)
    except CheckpointError:
        return None
    return tensors
