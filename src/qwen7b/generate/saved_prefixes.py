"""Prefixes of prompts on disk: keys and values that any process finds by the tokens alone.

They are kept in blocks of 32 tokens. A block is named by a hash of all that its keys and values depend on: the weights,
how they are computed with, and every token up to the block's last one. So the names of a prompt's blocks follow from
the prompt, prompts share the blocks of a common prefix, and a growing conversation adds only its new blocks. (vLLM and
nano-vllm name the blocks in their memory that way.)
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from qwen7b.files.tensor_folder import TensorFolder
from qwen7b.kernels import native
from qwen7b.model import Transformer
from qwen7b.model.sequence_cache import SequenceCache

BLOCK = 32
"""The tokens of a block, a multiple of the block size of every cache."""
_VERSION = 1
"""The version of the blocks, to be raised where new code makes other keys and values from the same weights."""
_HEADER_BYTES = 1 << 16
"""A block's file has at most so many bytes beside its tensors."""
_Views = dict[str, list[Tensor]]
"""The tensors of all layers, by name."""


class SavedPrefixes:
    """The saved prefixes of one model, in a folder that other models may use too.

    weights  a text that tells the model's weights from all others, in any process
    """

    def __init__(self, folder: TensorFolder, model: Transformer, *, weights: str) -> None:
        self.folder = folder
        self.model = model
        self.weights_state = weights_state(model)
        self._weights = weights
        self._can_write = True

    def read_into(self, cache: SequenceCache, ids: Sequence[int], *, alpha: float) -> Iterator[None]:
        """Extend a cache by those of a prompt's next blocks that are saved, one at each step of the iterator."""
        names, number = self._names(cache, ids, alpha), 0
        try:
            for number, name in enumerate(names):
                start, stop = number * BLOCK, (number + 1) * BLOCK
                if stop <= cache.length:
                    continue
                views = _views(cache, start, stop)
                if views is None or (saved := self._read(name, ids[start:stop], like=views)) is None:
                    return
                for key, of_layers in views.items():
                    for view, stored in zip(of_layers, saved[key], strict=True):
                        view.copy_(stored)
                cache.advance(torch.tensor(ids[cache.length : stop]), alpha)
                yield
        finally:
            self.folder.touch(names[: number + 1])

    def save(self, cache: SequenceCache, prompt: Sequence[int], *, num_new: int) -> None:
        """Save the blocks of a prompt that a cache holds and the folder does not.

        While the prompt is being read only its `num_new` last tokens are considered; the rest is checked at its end.
        """
        if not self._can_write:
            return
        names = self._names(cache, prompt[: cache.length], cache.alpha)
        first = 0 if cache.length >= len(prompt) else (cache.length - num_new) // BLOCK
        try:
            for number in range(first, len(names)):
                name, start, stop = names[number], number * BLOCK, (number + 1) * BLOCK
                if name in self.folder:
                    continue
                views = _views(cache, start, stop)
                if views is None or any(oldest > start for oldest in cache.oldest.values()):
                    break
                block = {key: torch.stack(of_layers).cpu() for key, of_layers in views.items()}
                self.folder.write(name, {**block, "ids": torch.tensor(prompt[start:stop])})
            if not first:
                self.folder.touch(names)
            self.folder.make_room()
        except OSError as error:
            self._can_write = False
            warnings.warn(
                f"no more prompts are kept for later starts, as {self.folder.path} cannot be written to: "
                f"{error.strerror or error}",
                stacklevel=2,
            )

    def _names(self, cache: SequenceCache, ids: Sequence[int], alpha: float) -> list[str]:
        """The names of a sequence's whole blocks."""
        config = asdict(self.model.config)
        del config["context_length"]  # on which no key depends
        parts = (
            *(_VERSION, torch.__version__, torch.backends.cpu.get_cpu_capability(), self.model.device.type),
            *(native.fingerprint(), native.instruction_set(), self._weights, config, str(self.model.dtype)),
            *(self.model.weight_format, type(cache).__name__, str(cache.dtype), alpha),
            *([] if cache.adapter is None else [cache.adapter.digest]),
        )
        digest = hashlib.sha256(repr(parts).encode()).digest()
        names, tokens = [], torch.tensor(ids, dtype=torch.int64).numpy()
        for stop in range(BLOCK, len(ids) + 1, BLOCK):
            digest = hashlib.sha256(digest + tokens[stop - BLOCK : stop].tobytes()).digest()
            names.append(digest.hex())
        return names

    def _read(self, name: str, ids: Sequence[int], *, like: _Views) -> dict[str, Tensor] | None:
        """Read a block; None where there is none that fits."""
        expected = {key: ((len(views), *views[0].shape), views[0].dtype) for key, views in like.items()}
        expected["ids"] = (BLOCK,), torch.int64
        num_bytes = sum(math.prod(shape) * dtype.itemsize for shape, dtype in expected.values())
        saved = self.folder.read(name, max_bytes=num_bytes + _HEADER_BYTES)
        if saved is None:
            return None
        found = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in saved.items()}
        if found != expected or saved["ids"].tolist() != list(ids):
            self.folder.remove(name, reason="it does not hold what its name says")
            return None
        return saved


def weights_state(model: Transformer) -> Hashable:
    """A value that differs, within a process, once a weight was replaced or changed in a way that PyTorch sees."""
    return tuple(map(_identity, (*model.parameters(), *model.buffers())))


def _identity(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


def _views(cache: SequenceCache, start: int, stop: int) -> _Views | None:
    """Views of a range of positions in a cache; None where a ring is too small to hold them in order."""
    if stop > min(cache.num_slots):
        return None
    blocks = slice(start // cache.block_size, stop // cache.block_size)
    return {name: [layer[name][:, blocks] for layer in cache.layers] for name in cache.layers[0]}
