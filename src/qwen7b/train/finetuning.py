"""Fine-tuning on conversations: a recipe in, a run out, with all weights trained or an adapter beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from qwen7b.adapters.adapted_modules import add_adapter
from qwen7b.adapters.settings import LoraSettings, find_targets
from qwen7b.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.checks import check_vocabulary
from qwen7b.config import ModelConfig
from qwen7b.convert.companions import read_companions
from qwen7b.doctor.untrained_rows import chat_controls, untrained_controls
from qwen7b.errors import ResourceError
from qwen7b.hub.locate import locate
from qwen7b.loading import load_model
from qwen7b.loading.placement import choose_device
from qwen7b.model import Transformer
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.system.memory import available_bytes, gigabytes
from qwen7b.system.progress import say
from qwen7b.system.storage import sha256_of
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.train.adapter_folder import AdapterFolder
from qwen7b.train.checkpoints import RunFolder, WeightFiles
from qwen7b.train.conversations import read_conversations
from qwen7b.train.example_batches import ExampleBatches
from qwen7b.train.finetune_recipe import FinetuneRecipe
from qwen7b.train.labels import label_all, make_labelling
from qwen7b.train.loop import train
from qwen7b.train.memory_need import BYTES_PER_WEIGHT
from qwen7b.train.model_folder import ModelFolder
from qwen7b.train.precision import probe_precision
from qwen7b.train.recipe_file import read_recipe


def finetune(
    recipe: FinetuneRecipe,
    folder: Path,
    *,
    control_rows: bool | None = None,
    device: str = "auto",
    offline: bool | None = None,
) -> Path:
    """Train a model further on conversations, in a run's folder; a run that was stopped goes on.

    `control_rows` says whether an adapter trains the rows of the chat format's control tokens, too; by default it does
    where they look untrained, as in base models. Returns the folder of the last saved step.

    Raises PromptError for data with mistakes, by file and line, ResourceError where memory does not suffice, and what
    `open_checkpoint`, `add_adapter` and `RunFolder.held` raise.
    """
    checkpoint = open_checkpoint(locate(recipe.model, offline=offline))
    tokenizer = load_tokenizer(checkpoint.path)
    check_vocabulary(tokenizer, checkpoint.config, source=checkpoint.path)
    labelling = make_labelling(
        tokenizer, dialect=recipe.dialect, model=recipe.model, mode=recipe.mode, max_length=recipe.max_length
    )
    files = [Path(name) for name in recipe.data]
    examples = label_all(read_conversations(files), labelling)
    place = choose_device(device, checkpoint, quantize="none" if checkpoint.packed is None else None)
    _require_memory(checkpoint.config, recipe.lora, device=place)
    run = RunFolder(folder)
    kept = read_recipe(run.recipe_path, FinetuneRecipe) if run.recipe_path.exists() else None
    probe = probe_precision(kept.precision if kept else recipe.precision, device=place)
    settings = recipe.resolved(num_examples=len(examples), precision=probe.precision)
    model = load_model(checkpoint, dtype=torch.float32, device=place, quantize="none")
    if settings.lora is not None:
        lora = _with_control_rows(settings.lora, checkpoint, tokenizer, control_rows)
        settings = replace(settings, lora=lora)
    weights = _prepare(model, checkpoint, settings)
    batches = ExampleBatches(examples, rows=settings.rows, micro_tokens=settings.micro_tokens, seed=settings.seed)
    with run.held(settings, facts={"data": _digest(files)}):
        return train(model, batches, settings.training, run=run, weights=weights, dtype=probe.dtype, peak=probe.peak)


def _with_control_rows(
    lora: LoraSettings, checkpoint: Checkpoint, tokenizer: Tokenizer, control_rows: bool | None
) -> LoraSettings:
    """The adapter's settings with the rows of control tokens that it trains."""
    if control_rows is None and (untrained := untrained_controls(checkpoint, tokenizer)):
        say(f"{', '.join(untrained)} look untrained, so the rows of the chat's control tokens are trained, too.")
        control_rows = True
    if not control_rows:
        return lora
    return replace(lora, token_ids=tuple(sorted({*lora.token_ids, *chat_controls(tokenizer).values()})))


def _prepare(model: Transformer, checkpoint: Checkpoint, recipe: FinetuneRecipe) -> WeightFiles:
    """Choose what of a model is trained, and how that is saved."""
    if recipe.lora is not None:
        torch.manual_seed(recipe.seed)
        add_adapter(model, recipe.lora)
        return AdapterFolder(settings=recipe.lora, base=recipe.model)
    model.requires_grad_(True)
    return ModelFolder(read_companions(checkpoint, name=Path(recipe.model).name, chat=True))


def _require_memory(config: ModelConfig, lora: LoraSettings | None, *, device: torch.device) -> None:
    """Raise ResourceError where the weights, and what training keeps of those that it changes, do not fit."""
    num_weights = count_weights(parameter_shapes(config))
    num_trained = num_weights if lora is None else _num_adapter_weights(config, lora)
    frozen = 0 if lora is None else num_weights * torch.float32.itemsize
    needed, available = frozen + num_trained * BYTES_PER_WEIGHT, available_bytes(device)
    if needed > available:
        what = "all weights" if lora is None else f"an adapter of rank {lora.rank}"
        raise ResourceError(
            f"to train {what} takes {gigabytes(needed)} before anything is computed, and {gigabytes(available)} are "
            f"free: {'train an adapter (--lora)' if lora is None else 'choose a smaller model'}, or free some memory"
        )


def _num_adapter_weights(config: ModelConfig, lora: LoraSettings) -> int:
    shapes, total = parameter_shapes(config), 2 * len(lora.token_ids) * config.hidden_size
    for place in find_targets(config, lora.targets).values():
        num_rows, num_columns = shapes[place.parameter]
        total += lora.rank * ((place.num_rows or num_rows) + num_columns)
    return total


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()
