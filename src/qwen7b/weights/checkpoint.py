"""A checkpoint on disk: its configuration, and its tensors with their places in the model. Reads no weights yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qwen7b.config import ModelConfig
from qwen7b.errors import CheckpointError, ModelNotFoundError
from qwen7b.weights.gguf_file import open_gguf
from qwen7b.weights.names import GGUF, HOLDS_NO_WEIGHTS, QWEN, QWEN2, Names, Place, place_of
from qwen7b.weights.settings import (
    GenerationSettings,
    folder_config,
    folder_generation,
    gguf_config,
    gguf_generation,
)
from qwen7b.weights.shards import open_shards
from qwen7b.weights.stored import StoredTensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """An opened checkpoint."""

    path: Path
    config: ModelConfig
    generation: GenerationSettings
    tensors: Mapping[str, tuple[Place, StoredTensor]]
    """By the file's own names."""


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint folder of either Qwen generation, Qwen2 or Llama, or a GGUF file of one of these.

    Raises ModelNotFoundError where nothing is there, CheckpointError where it is damaged, incomplete or contradicts
    itself, UnsupportedError where it is sound but of another kind.
    """
    path = Path(path)
    if path.is_dir():
        config = folder_config(path)
        names = QWEN if config.family == "qwen" else QWEN2
        tensors, generation = open_shards(path), folder_generation(path)
    elif path.is_file():
        metadata, tensors = open_gguf(path)
        if "token_embd.weight" not in tensors:
            raise CheckpointError(f"{path} has no tensor token_embd.weight: it is not a whole language model")
        vocab_rows = tensors["token_embd.weight"].shape[0]
        config = gguf_config(
            metadata, vocab_rows=vocab_rows, tied_head="output.weight" not in tensors, source=str(path)
        )
        names, generation = GGUF, gguf_generation(metadata)
    else:
        raise ModelNotFoundError(f"{path} does not exist: give a checkpoint folder or a .gguf file")
    return Checkpoint(
        path=path,
        config=config,
        generation=generation,
        tensors=_placed(tensors, names=names, config=config, source=path),
    )


def _placed(
    tensors: Mapping[str, StoredTensor], *, names: Names, config: ModelConfig, source: Path
) -> dict[str, tuple[Place, StoredTensor]]:
    placed = {}
    for name, stored in tensors.items():
        place = place_of(name, names=names, config=config)
        if place is None and not HOLDS_NO_WEIGHTS.search(name):
            raise CheckpointError(
                f"{source} has a tensor {name!r}, which no {config.family} model has: its config names the wrong "
                "kind of model, or it is an adapter or a quantized checkpoint"
            )
        if place and not (config.tied_head and place.parameter == "head.weight"):
            placed[name] = (place, stored)
    return placed
