"""A whole model in a saved step: a checkpoint folder as any program reads it, and exactly the weights in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from qwen7b.checkpoint import GenerationSettings, open_checkpoint
from qwen7b.checkpoint.checks import check_weights
from qwen7b.checkpoint.parameters import parameters_of
from qwen7b.checkpoint.tensor_names import folder_names
from qwen7b.config import Family
from qwen7b.convert.companions import Companions
from qwen7b.convert.metadata import qwen2_files, qwen_files
from qwen7b.convert.target import adapt, tensors_from
from qwen7b.errors import CheckpointError
from qwen7b.files.checksums import write_checked
from qwen7b.files.stored import row_blocks
from qwen7b.files.views import InMemory
from qwen7b.model import Transformer
from qwen7b.text import Tokenizer


class ModelFolder:
    """Writes a model with what it needs to be loaded by name, and fills it again. Llama's models become Qwen2's."""

    def __init__(self, companions: Companions) -> None:
        self.companions = companions

    def save(self, model: Transformer, folder: Path) -> None:
        source = model.config
        target = source if source.family is Family.QWEN else replace(source, family=Family.QWEN2, qkv_bias=True)
        parameters = {name: InMemory(tensor.detach().cpu()) for name, tensor in model.named_parameters()}
        tensors = {
            name: stored.read_rows(0, stored.shape[0])
            for name, _, stored in tensors_from(adapt(parameters, source, target), target, names=folder_names(target))
        }
        write_checked(folder / "model.safetensors", tensors, format="pt")
        files = (qwen_files if target.family is Family.QWEN else qwen2_files)(
            target, self.companions, dtype=model.dtype
        )
        for name, content in files.items():
            (folder / name).write_bytes(content)

    @torch.no_grad()
    def restore(self, model: Transformer, folder: Path) -> None:
        checkpoint = open_checkpoint(folder)
        check_weights(checkpoint)
        stored_parameters = parameters_of(checkpoint)
        for name, parameter in model.named_parameters():
            stored = stored_parameters.get(name)
            if stored is None or tuple(stored.shape) != tuple(parameter.shape):
                shape = "none" if stored is None else tuple(stored.shape)
                raise CheckpointError(
                    f"{folder} holds {name} of shape {shape}, but the run's model has {tuple(parameter.shape)}: it is "
                    "of another model, so start in another folder"
                )
            for first, rows in row_blocks(stored):
                parameter[first : first + rows.shape[0]].copy_(rows)


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
