"""Pretraining: a recipe in, a run out, from random weights and token shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qwen7b.data.order import DocumentOrder
from qwen7b.data.shards import Shards
from qwen7b.generate import Greedy, Qwen
from qwen7b.loading import load_tokenizer
from qwen7b.model import Transformer
from qwen7b.system.json_file import read_json
from qwen7b.system.whole_file import write_text_whole
from qwen7b.text import Tokenizer
from qwen7b.train.checkpoints import RunFolder
from qwen7b.train.compressors import bits_after
from qwen7b.train.corpus_batches import CorpusBatches
from qwen7b.train.initial import new_model
from qwen7b.train.loop import train, try_gradients
from qwen7b.train.memory_need import require_training_memory
from qwen7b.train.mesh_settings import ONE_COPY, MeshSettings
from qwen7b.train.model_folder import ModelFolder, new_companions
from qwen7b.train.precision import probe_precision
from qwen7b.train.ranks import ALONE, Ranks, joined_ranks
from qwen7b.train.recipe import PrecisionChoice, PretrainRecipe, Validation
from qwen7b.train.recipe_file import read_recipe
from qwen7b.train.validation import HeldOut, bits_per_byte, text_of

_ORIGIN = "origin.json"
"""The file of a run that says where its recipe is, beside which its data are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainData:
    """What a recipe reads, opened."""

    recipe: PretrainRecipe
    tokenizer: Tokenizer
    shards: Shards
    order: DocumentOrder
    held_out: HeldOut | None

    def read_before(self, step: int) -> bytes:
        """The text that was read before a step, counted from 0; what was read twice is here once."""
        num_rows = min(step * self.order.rows, self.order.rows_per_epoch)
        parts = []
        for number in range(num_rows):
            pieces = self.order.pieces(*divmod(number, self.order.rows))
            ids = np.concatenate([self.shards.read(one.document, one.start, one.stop) for one in pieces])
            parts.append(text_of(ids[: self.order.length].tolist(), self.tokenizer))
        return b"".join(parts)


def open_data(recipe_path: Path) -> PretrainData:
    """Open what a recipe names. Raises SettingError for mistakes in it, and for shards of another tokenizer."""
    recipe = read_recipe(recipe_path, PretrainRecipe)
    here, corpus, held_out = recipe_path.resolve().parent, recipe.corpus, None
    tokenizer = load_tokenizer(_beside(here, corpus.tokenizer))
    shards = Shards([here / name for name in corpus.shards], tokenizer=tokenizer)
    if recipe.validation.shards is not None:
        held_out = HeldOut.read(
            Shards([here / recipe.validation.shards], tokenizer=tokenizer),
            tokenizer,
            length=corpus.length,
            micro_rows=corpus.micro_rows,
            max_tokens=recipe.validation.max_tokens,
        )
    order = DocumentOrder(shards.lengths, length=corpus.length, rows=corpus.rows, seed=recipe.training.seed)
    return PretrainData(recipe=recipe, tokenizer=tokenizer, shards=shards, order=order, held_out=held_out)


def _beside(folder: Path, name: str) -> str | Path:
    """A path beside the recipe, where there is one; else the name as it is, perhaps a known model's."""
    return folder / name if (folder / name).exists() else name


def pretrain(recipe_path: Path, folder: Path, *, device: str = "cpu", mesh: MeshSettings = ONE_COPY) -> Path:
    """Train a new model by a recipe, in a run's folder; a run that was stopped goes on. Returns the last saved step.

    Where torchrun has started several processes they train one model together, of which `mesh` says how it is shared.

    Raises SettingError for a recipe with mistakes, for shards of another tokenizer, and for the folder of another run.
    """
    with joined_ranks(mesh, device=device) as ranks:
        return _pretrain(open_data(recipe_path), recipe_path, RunFolder(folder, ranks), ranks)


def _pretrain(data: PretrainData, recipe_path: Path, run: RunFolder, ranks: Ranks) -> Path:
    recipe, corpus, training = data.recipe, data.recipe.corpus, data.recipe.training
    config = recipe.model.config(vocab_size=data.tokenizer.vocab_size, length=corpus.length)
    again = training.activation_checkpointing
    require_training_memory(
        config, micro_rows=corpus.micro_rows, length=corpus.length, again=again, device=ranks.device, ranks=ranks
    )
    batches = CorpusBatches(
        data.shards,
        data.order,
        micro_rows=corpus.micro_rows,
        mask_documents=corpus.mask_documents,
        rank=ranks.rank,
        num_ranks=ranks.num_ranks,
    )
    wanted = kept_precision(run) if training.precision == "auto" else training.precision
    if ranks.num_ranks == 1:
        model = new_model(config, seed=training.seed, device=ranks.device)
        probe = probe_precision(
            wanted,
            device=ranks.device,
            trial=lambda dtype: try_gradients(model, batches(0)[0], again=again, dtype=dtype),
        )
    else:  # what the ranks' weights are sent in must be known before there are any
        probe = ranks.on_first(lambda: probe_precision(wanted, device=ranks.device))
        model = new_model(config, seed=training.seed, device=ranks.device, dtype=probe.dtype, ranks=ranks)
    training = replace(training, precision=probe.precision)
    facts = {"data": data.shards.digest, "held-out text": data.held_out.digest if data.held_out else "none"}
    with run.held(replace(recipe, training=training), facts=facts):
        origin = json.dumps({"recipe": str(recipe_path.resolve())})
        ranks.on_first(lambda: write_text_whole(run.path / _ORIGIN, origin))
        return train(
            model,
            batches,
            training,
            run=run,
            weights=ModelFolder(new_companions(data.tokenizer, name=run.path.resolve().name)),
            dtype=probe.dtype,
            evaluate=Looks(recipe.validation, model, data, dtype=probe.dtype, ranks=ranks),
            peak=probe.peak * ranks.num_ranks,
        )


def kept_precision(run: RunFolder) -> PrecisionChoice:
    """What a run that leaves its precision to the machine computes in: what it began with, if it has begun."""
    if not run.recipe_path.exists():
        return "auto"
    return read_recipe(run.recipe_path, PretrainRecipe).training.precision


class Looks:
    """Looks at a model on the way: bits per byte of held-out text, and how it continues some beginnings."""

    def __init__(
        self,
        settings: Validation,
        model: Transformer,
        data: PretrainData,
        *,
        dtype: torch.dtype,
        ranks: Ranks = ALONE,
    ) -> None:
        self.settings, self.model, self.data, self.dtype, self.ranks = settings, model, data, dtype, ranks

    def __call__(self, step: int) -> dict[str, Any]:
        """What is to be logged after a step, counted from 1."""
        if step % self.settings.every and step != self.data.recipe.training.steps:
            return {}
        fields: dict[str, Any] = {}
        if self.data.held_out is not None:
            fields["bits_per_byte"] = bits_per_byte(self.model, self.data.held_out, dtype=self.dtype, ranks=self.ranks)
        if self.settings.prompts:
            fields["samples"] = dict(zip(self.settings.prompts, self.samples(self.settings.prompts), strict=True))
        return fields

    def samples(self, prompts: Sequence[str]) -> list[str]:
        """How the model continues each beginning, greedily."""
        qwen = Qwen(self.model, self.data.tokenizer, name="run")
        with self.ranks.using(self.model):
            replies = qwen.complete_batch(prompts, max_new_tokens=self.settings.sample_tokens, sampling=Greedy())
        return [reply.text for reply in replies]


def compressed_after(folder: Path, steps: Sequence[int]) -> Iterator[tuple[int, dict[str, float]]]:
    """By step, the bits a byte that compressors take for a run's held-out text after what the run had read by then.

    Raises SettingError where the run has no held-out text, or where its recipe or data are no longer there.
    """
    origin = Path(str(read_json(folder / _ORIGIN).get("recipe")))
    data = open_data(origin)
    if data.held_out is None:
        return
    for step in steps:
        yield step, bits_after(data.read_before(step), data.held_out.text)
