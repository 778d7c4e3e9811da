"""Tiny runs for the tests of training: a model of thousands of weights, and micro-batches of random ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import tiny
from data.sharding import write_shards
from qwen7b.model import Transformer
from qwen7b.text import load_tokenizer
from qwen7b.train.checkpoints import RunFolder
from qwen7b.train.initial import new_model
from qwen7b.train.loop import train
from qwen7b.train.micro_batch import MicroBatch, labelled, shared_out
from qwen7b.train.model_folder import ModelFolder, new_companions
from qwen7b.train.ranks import ALONE, Ranks
from qwen7b.train.recipe import Training
from qwen7b.train.schedule import Cosine


def small_model(
    seed: int = 0, *, ranks: Ranks = ALONE, dtype: torch.dtype = torch.float32, **changes: Any
) -> Transformer:
    config = tiny.config(rotary_scaling=None, logn=False, vocab_rows=320, **changes)
    return new_model(config, seed=seed, ranks=ranks, dtype=dtype)


def random_batches(step: int, *, parts: int = 2, rows: int = 2, length: int = 12) -> list[MicroBatch]:
    """The micro-batches of a step: a few patterns that repeat, so that there is something to learn."""
    generator = torch.Generator().manual_seed(step)
    batches = []
    for _ in range(parts):
        starts = torch.randint(0, 50, (rows,), generator=generator)
        sequences = [(start + 3 * torch.arange(length)) % 97 for start in starts]
        batches.append(labelled(sequences, sequences))
    return batches


def settings(**changes: Any) -> Training:
    return Training(**{"steps": 6, "save_every": 2, "schedule": Cosine(warmup_steps=2), **changes})


def run_in(folder: Path, tokenizer_file: Path, *, ranks: Ranks = ALONE, **changes: Any) -> Path:
    """Train the small model in a run's folder, or go on with it."""
    recipe = settings(**changes)
    run = RunFolder(folder, ranks)
    weights = ModelFolder(new_companions(load_tokenizer(tokenizer_file), name="run"))

    def batches(step: int) -> list[MicroBatch]:
        parts = random_batches(step)
        return shared_out(len(parts), parts.__getitem__, rank=ranks.rank, num_ranks=ranks.num_ranks)

    with run.held(recipe):
        return train(small_model(ranks=ranks), batches, recipe, run=run, weights=weights, dtype=torch.float32)


RECIPE = """
[model]
hidden_size = 32
num_layers = 2
num_heads = 4
feed_forward_size = 48
family = "qwen"

[corpus]
tokenizer = "tokenizer.json"
shards = ["shards"]
length = 16
rows = 4
micro_rows = 2

[training]
steps = 8
save_every = 4
precision = "float32"

[validation]
shards = "validation"
every = 4
max_tokens = 200
prompts = ["the ", "h"]
sample_tokens = 5
"""


def write_pretraining(folder: Path) -> Path:
    """Write a vocabulary, shards and a recipe that names them; returns the recipe's path."""
    tokenizer = load_tokenizer(tiny.write_tokenizer_json(folder / "tokenizer.json"))
    texts = [f"the tin hell {number} is in her inner ear: then he tells it." for number in range(30)]
    for name, part in (("shards", texts[:25]), ("validation", texts[25:])):
        write_shards(map(tokenizer.encode, part), folder / name, tokenizer=tokenizer)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder / "recipe.toml"
