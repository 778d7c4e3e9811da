"""A checkpoint on disk: its config, and its tensors with their places in the model.

Reads no weights, but for an output head that is said to be the embedding.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from qwen7b.checkpoint.folders import gguf_instead
from qwen7b.checkpoint.generation_settings import GenerationSettings, folder_generation
from qwen7b.checkpoint.packed_folder import Packed, is_packed, open_packed, unpacked
from qwen7b.checkpoint.senses import refuse_other_senses
from qwen7b.checkpoint.tensor_names import (
    GGUF,
    HOLDS_NO_WEIGHTS,
    Names,
    Place,
    folder_names,
    is_extra_bias,
    naming_of,
    place_of,
)
from qwen7b.checkpoint.upstream_config import config_of, gguf_config
from qwen7b.config import Family, ModelConfig
from qwen7b.errors import CheckpointError, Report, UnsupportedError, and_more, fail, quoted
from qwen7b.files.file_names import WEIGHT_SUFFIXES
from qwen7b.files.gptq import dequantized, folder_quantization
from qwen7b.files.stored import StoredTensor
from qwen7b.files.weight_files import open_weights
from qwen7b.system.json_file import read_json
from qwen7b.system.regular_file import existing_path

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """An opened checkpoint."""

    path: Path
    """The folder, or the GGUF file that has the metadata."""
    config: ModelConfig
    generation: GenerationSettings
    tensors: Mapping[str, tuple[Place, StoredTensor]]
    """The tensors, by the file's own names."""
    packed: Packed | None = None
    """The packed weights of a packed checkpoint, which `tensors` unpack when read; else None."""


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint folder of either Qwen generation, Qwen2 or Llama, packed or not, or a GGUF file of these.

    A folder may hold one GGUF model; for one in several parts, give any part. Raises ModelNotFoundError where there
    is nothing, CheckpointError where it is damaged, incomplete or contradicts itself, UnsupportedError where it is a
    valid file of another kind.
    """
    path = existing_path(path)
    if path.is_dir():
        path = gguf_instead(path) or path
    if path.is_dir():
        return _open_folder(path)
    if path.suffix.lower() in (".json", ".tiktoken", *WEIGHT_SUFFIXES):
        raise CheckpointError(f"{path} is a part of a checkpoint: give the folder that holds it, {path.parent}")
    return _open_gguf(path)


def _open_folder(path: Path) -> Checkpoint:
    fields = read_json(path / "config.json")
    if is_packed(fields):
        config, packed = open_packed(path, fields)
        return Checkpoint(
            path=path,
            config=config,
            generation=folder_generation(path, fields),
            tensors=unpacked(config, packed),
            packed=packed,
        )
    config = config_of(fields, source=str(path / "config.json"))
    quantization, generation = folder_quantization(path, fields), folder_generation(path, fields)
    stored = dequantized(open_weights(path), quantization)
    config = with_own_head(config, stored, source=path)
    tensors = placed(stored, names=folder_names(config), config=config, source=path)
    return Checkpoint(path=path, config=config, generation=generation, tensors=tensors)


def with_own_head(config: ModelConfig, stored: Mapping[str, StoredTensor], *, source: Path) -> ModelConfig:
    """A folder's config, untied with a warning where the output head in its weights is not the embedding."""
    if not config.tied_head or _heads_are_equal(stored, folder_names(config)):
        return config
    warnings.warn(
        f"{source / 'config.json'} sets tie_word_embeddings, but the output head in the weights is another matrix "
        "than the embedding: it is used as it is, as Transformers does",
        stacklevel=4,
    )
    return replace(config, tied_head=False)


def _heads_are_equal(stored: Mapping[str, StoredTensor], names: Names) -> bool:
    """Whether the output head is the embedding again; so it is where there is none, or none of its shape."""
    stems = {parameter: stem for stem, parameter in names.outer.items()}
    head, embedding = (stored.get(f"{stems[parameter]}.weight") for parameter in ("head", "embedding"))
    if head is None or embedding is None or head.shape != embedding.shape:
        return True
    rows = range(0, head.shape[0], _ROWS_AT_ONCE)
    return all(
        torch.equal(*(each.read_rows(first, min(_ROWS_AT_ONCE, head.shape[0] - first)) for each in (head, embedding)))
        for first in rows
    )


def _open_gguf(path: Path) -> Checkpoint:
    from qwen7b.files.gguf_file import open_gguf  # brings gguf, which the other formats do without

    path, metadata, tensors = open_gguf(path)
    if "token_embd.weight" not in tensors:
        raise CheckpointError(f"{path} has no tensor token_embd.weight: it is not a complete language model")
    vocab_rows = tensors["token_embd.weight"].shape[0]
    config = gguf_config(metadata, vocab_rows=vocab_rows, tied_head="output.weight" not in tensors, source=str(path))
    if config.family is Family.LLAMA and any("attn_qkv." in name for name in tensors):
        raise UnsupportedError(
            f"{path} has query, key and value of a Llama in one tensor, whose order of rows is not known: convert it "
            "without fusing them (--fuse-qkv)"
        )
    return Checkpoint(
        path=path,
        config=config,
        generation=GenerationSettings(source=str(path)),
        tensors=placed(tensors, names=GGUF, config=config, source=path),
    )


def placed(
    tensors: Mapping[str, StoredTensor], *, names: Names, config: ModelConfig, source: Path, report: Report = fail
) -> dict[str, tuple[Place, StoredTensor]]:
    """The tensors that a model has, with their places. Tensors that no such model has are reported."""
    result = {}
    unknown = []
    for name, stored in tensors.items():
        place = place_of(name, names=names, config=config)
        if place is None:
            if not HOLDS_NO_WEIGHTS.search(name):
                unknown.append(name)
        elif not _is_left_out(place, stored, config):
            result[name] = (place, stored)
    refuse_other_senses({}, unknown, source=str(source))
    naming = naming_of(unknown)
    if naming and not naming_of(result):
        report(
            CheckpointError(
                f"{source} has the tensors of {naming.models} but a config of model_type "
                f"{quoted(config.family.value)}: take config.json from the repository that the tensors come from"
            )
        )
    elif unknown:
        report(
            CheckpointError(
                f"{source} has a tensor {quoted(unknown[0])}, which no {config.family} model has"
                f"{and_more(len(unknown))}: its config names the wrong kind of model, or it is an adapter or a "
                "quantized checkpoint"
            )
        )
    return result


def _is_left_out(place: Place, stored: StoredTensor, config: ModelConfig) -> bool:
    if place.parameter == "head.weight":
        return config.tied_head
    # AutoGPTQ gives every layer a bias, with zeros where the original had none.
    if not is_extra_bias(place, config=config):
        return False
    return len(stored.shape) == 1 and stored.shape[0] > 0 and not stored.read_rows(0, stored.shape[0]).any()
