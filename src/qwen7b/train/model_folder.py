"""A whole model in a saved step: a checkpoint folder as any program reads it, and exactly the weights in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from qwen7b.checkpoint import GenerationSettings, open_checkpoint
from qwen7b.checkpoint.checks import check_weights
from qwen7b.checkpoint.parameters import parameters_of
from qwen7b.checkpoint.tensor_names import folder_names, tensors_of
from qwen7b.config import Family
from qwen7b.convert.companions import Companions
from qwen7b.convert.metadata import qwen2_files, qwen_files
from qwen7b.errors import CheckpointError
from qwen7b.files.stored import row_ranges
from qwen7b.files.tensor_file import FileTensor, TensorFile
from qwen7b.files.views import InMemory
from qwen7b.model import Transformer
from qwen7b.model.parameter_shapes import parameter_shapes
from qwen7b.text import Tokenizer
from qwen7b.train.ranks import Ranks


class ModelFolder:
    """Writes a model with what it needs to be loaded by name, and fills it again. Llama's models become Qwen2's."""

    def __init__(self, companions: Companions) -> None:
        self.companions = companions

    def save(self, model: Transformer, folder: Path, ranks: Ranks) -> TensorFile:
        source = model.config
        target = source if source.family is Family.QWEN else replace(source, family=Family.QWEN2, qkv_bias=True)
        make_files = qwen_files if target.family is Family.QWEN else qwen2_files

        def write_companions() -> None:
            for name, content in make_files(target, self.companions, dtype=model.dtype).items():
                (folder / name).write_bytes(content)

        ranks.on_first(write_companions)
        shapes, own = parameter_shapes(target), parameter_shapes(source)
        tensors = {
            name: FileTensor(
                source=place.parameter if place.parameter in own else None,  # Llama lacks the biases of Qwen2
                dtype=model.dtype,
                shape=(place.num_rows or shapes[place.parameter][0], *shapes[place.parameter][1:]),
                first_row=place.first_row,
            )
            for name, place in tensors_of(target, names=folder_names(target)).items()
        }
        return TensorFile(folder / "model.safetensors", tensors, format="pt")

    @torch.no_grad()
    def restore(self, model: Transformer, folder: Path, ranks: Ranks) -> None:
        checkpoint = open_checkpoint(folder)
        ranks.on_first(lambda: check_weights(checkpoint))
        stored_parameters = parameters_of(checkpoint)
        for name, parameter in model.named_parameters():
            stored = stored_parameters.get(name)
            if stored is None or tuple(stored.shape) != tuple(parameter.shape):
                shape = "none" if stored is None else tuple(stored.shape)
                raise CheckpointError(
                    f"{folder} holds {name} of shape {shape}, but the run's model has {tuple(parameter.shape)}: it is "
                    "of another model, so start in another folder"
                )
            first, rows = ranks.own(parameter)
            for start, stop in row_ranges(InMemory(rows)):
                rows[start:stop].copy_(stored.read_rows(first + start, first + stop))


def new_companions(tokenizer: Tokenizer, *, name: str) -> Companions:
    """What a new base model needs beside its weights."""
    return Companions(
        name=name,
        tokenizer=tokenizer,
        generation=GenerationSettings(is_chat=False),
        is_chat=False,
        chat_template=None,
        stop_ids=[] if tokenizer.end_of_text_id is None else [tokenizer.end_of_text_id],
    )
