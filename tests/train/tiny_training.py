"""Tiny runs for the tests of training: a model of thousands of weights, and micro-batches of random ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import tiny
from qwen7b.model import Transformer
from qwen7b.text import load_tokenizer
from qwen7b.train.checkpoints import RunFolder
from qwen7b.train.initial import new_model
from qwen7b.train.loop import train
from qwen7b.train.micro_batch import MicroBatch, labelled
from qwen7b.train.model_folder import ModelFolder, new_companions
from qwen7b.train.recipe import Training
from qwen7b.train.schedule import Cosine


def small_model(seed: int = 0, **changes: Any) -> Transformer:
    return new_model(tiny.config(rotary_scaling=None, logn=False, vocab_rows=320, **changes), seed=seed)


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


def run_in(folder: Path, tokenizer_file: Path, **changes: Any) -> Path:
    """Train the small model in a run's folder, or go on with it."""
    recipe = settings(**changes)
    run = RunFolder(folder)
    weights = ModelFolder(new_companions(load_tokenizer(tokenizer_file), name="run"))
    with run.held(recipe):
        return train(small_model(), random_batches, recipe, run=run, weights=weights, dtype=torch.float32)
