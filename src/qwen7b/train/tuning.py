"""What fine-tuning on conversations and on preferences share: model, adapter, run, and what the run depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch

from qwen7b.adapters.adapted_modules import add_adapter
from qwen7b.adapters.settings import LoraSettings, find_targets
from qwen7b.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.checks import check_vocabulary
from qwen7b.config import ModelConfig
from qwen7b.convert.companions import read_companions
from qwen7b.doctor.untrained_rows import chat_controls, untrained_controls
from qwen7b.errors import ResourceError, SettingError
from qwen7b.files.checksums import tensors_digest
from qwen7b.hub.locate import locate
from qwen7b.loading import load_model
from qwen7b.loading.packed_weights import packed_bytes
from qwen7b.loading.placement import NONE, choose_device
from qwen7b.model import Transformer
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.system.memory import available_bytes, gigabytes, return_large_blocks
from qwen7b.system.progress import say
from qwen7b.system.storage import sha256_of
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.train.adapter_folder import AdapterFolder
from qwen7b.train.checkpoints import RunFolder, WeightFiles
from qwen7b.train.example_batches import ExampleOrder, HasTokens
from qwen7b.train.finetune_recipe import TuningRecipe
from qwen7b.train.labels import Labelling, Mode, make_labelling
from qwen7b.train.loop import train, try_gradients
from qwen7b.train.memory_need import BYTES_PER_WEIGHT, computed_bytes
from qwen7b.train.mesh_settings import MeshSettings
from qwen7b.train.micro_batch import Batches, labelled
from qwen7b.train.model_folder import ModelFolder
from qwen7b.train.objective import Objective
from qwen7b.train.precision import Probe, probe_precision
from qwen7b.train.ranks import Ranks, joined_ranks
from qwen7b.train.recipe_file import read_recipe

_TRIED_WEIGHTS = 1_000_000_000
"""In a model with more weights large products decide which number format is faster, and a trial would take minutes."""
_TRIED_TOKENS = 64
"""The tokens of a trial."""

RecipeT = TypeVar("RecipeT", bound=TuningRecipe)
ExampleT = TypeVar("ExampleT", bound=HasTokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning(Generic[RecipeT, ExampleT]):
    """A run that is about to train a model, which is still as its checkpoint has it; its folder is held.

    recipe  the resolved recipe
    order   what each step reads
    """

    recipe: RecipeT
    order: ExampleOrder[ExampleT]
    model: Transformer
    run: RunFolder
    weights: WeightFiles
    probe: Probe

    @property
    def steps_to_do(self) -> range:
        assert self.recipe.steps is not None
        return range(self.run.last_step, self.recipe.steps)

    def train(self, batches: Batches, objective: Objective) -> Path:
        """Train to the end, and return the folder of the last saved step."""
        return train(
            self.model,
            batches,
            self.recipe.training,
            objective=objective,
            run=self.run,
            weights=self.weights,
            dtype=self.probe.dtype,
            peak=self.probe.peak * self.run.ranks.num_ranks,
        )


@contextmanager
def started_tuning(
    recipe: RecipeT,
    folder: Path,
    *,
    label: Callable[[Sequence[Path], Labelling], Sequence[ExampleT]],
    mode: Mode = "assistant",
    control_rows: bool | None,
    device: str,
    mesh: MeshSettings,
    offline: bool | None,
) -> Iterator[Tuning[RecipeT, ExampleT]]:
    """Open all that a recipe names, label its data, and hold the run's folder.

    `control_rows` says whether an adapter trains the rows of the chat format's control tokens, too; by default it does
    where they look untrained, as in base models. Where torchrun has started several processes they train one model
    together, and `mesh` says how they share it.

    Raises PromptError for data with mistakes, by file and line, ResourceError where memory does not suffice, and what
    `open_checkpoint`, `add_adapter` and `RunFolder.held` raise.
    """
    if recipe.activation_checkpointing:  # which asks for less memory at the price of time, as this is
        return_large_blocks()
    checkpoint = open_checkpoint(locate(recipe.model, offline=offline))
    format = recipe.quantize if checkpoint.packed is None else checkpoint.packed.format.name
    if checkpoint.packed is not None and recipe.quantize not in (None, format):
        raise SettingError(
            f"{checkpoint.path} is packed as {format} already, found quantize {recipe.quantize!r}: leave that out"
        )
    recipe = replace(recipe, quantize=format)  # which refuses it without an adapter
    tokenizer = load_tokenizer(checkpoint.path)
    check_vocabulary(tokenizer, checkpoint.config, source=checkpoint.path)
    labelling = make_labelling(
        tokenizer, dialect=recipe.dialect, model=recipe.model, mode=mode, max_length=recipe.max_length
    )
    files = [Path(name) for name in recipe.data]
    order = ExampleOrder(label(files, labelling), rows=recipe.rows, micro_tokens=recipe.micro_tokens, seed=recipe.seed)
    place = choose_device(device, checkpoint, quantize=format or NONE)
    with joined_ranks(mesh, device=str(place)) as ranks:
        longest = max(example.num_tokens for example in order.examples)
        _require_memory(checkpoint.config, recipe, longest=longest, ranks=ranks)
        if (lora := recipe.lora) is not None:
            rows = ranks.on_first(lambda: _with_control_rows(lora, checkpoint, tokenizer, control_rows))
            recipe = replace(recipe, lora=rows)
        # Several ranks read all of the model into the memory of the CPU, and keep their share of it on their device.
        at_first = ranks.device if ranks.num_ranks == 1 else torch.device("cpu")
        model = load_model(
            checkpoint, dtype=torch.float32, device=at_first, quantize=format or NONE, keep=format is not None
        )
        facts = {"data": _digest_of_files(files), "base": ranks.on_first(lambda: tensors_digest(model.state_dict()))}
        weights = _prepare(model, checkpoint, recipe)
        run = RunFolder(folder, ranks)
        wanted = recipe.precision
        if wanted == "auto" and run.recipe_path.exists():
            wanted = read_recipe(run.recipe_path, type(recipe)).precision
        trial = _trial(model, tokenizer, recipe) if at_first == ranks.device else None
        probe = ranks.on_first(lambda: probe_precision(wanted, device=ranks.device, trial=trial))
        ranks.shard(model, dtype=probe.dtype)
        recipe = recipe.resolved(num_examples=len(order.examples), precision=probe.precision)
        with run.held(recipe, facts=facts):
            yield Tuning(recipe=recipe, order=order, model=model, run=run, weights=weights, probe=probe)


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


def _prepare(model: Transformer, checkpoint: Checkpoint, recipe: TuningRecipe) -> WeightFiles:
    """Choose what of a model is trained, and how that is saved."""
    if recipe.lora is not None:
        torch.manual_seed(recipe.seed)
        add_adapter(model, recipe.lora)
        return AdapterFolder(settings=recipe.lora, base=recipe.model)
    model.requires_grad_(True)
    return ModelFolder(read_companions(checkpoint, name=Path(recipe.model).name, chat=True))


def _trial(model: Transformer, tokenizer: Tokenizer, recipe: TuningRecipe) -> Callable[[torch.dtype], object] | None:
    """A part of a step to time; None for models in which it would take too long."""
    if count_weights(parameter_shapes(model.config)) > _TRIED_WEIGHTS:
        return None
    ids = torch.arange(_TRIED_TOKENS) % tokenizer.vocab_size
    batch = labelled([ids], [ids])
    return lambda dtype: try_gradients(model, batch, again=recipe.activation_checkpointing, dtype=dtype)


def _require_memory(config: ModelConfig, recipe: TuningRecipe, *, longest: int, ranks: Ranks) -> None:
    """Raise ResourceError where training does not fit, with what would; the `longest` example has so many tokens."""
    lora, num_weights = recipe.lora, count_weights(parameter_shapes(config))
    num_trained = num_weights if lora is None else _num_adapter_weights(config, lora)
    frozen = 0 if lora is None else num_weights * torch.float32.itemsize
    if recipe.quantize is not None:
        frozen = packed_bytes(config, recipe.quantize)
    held = (frozen + num_trained * BYTES_PER_WEIGHT) // ranks.num_shards
    if ranks.num_ranks > 1 and ranks.device.type == "cpu":
        held += frozen or num_weights * torch.float32.itemsize  # the whole, of which each keeps its share
    available, again = available_bytes(ranks.device) // ranks.num_neighbours, recipe.activation_checkpointing

    def needs(micro_tokens: int, again: bool) -> int:
        at_once = max(longest, min(micro_tokens, recipe.rows * longest))
        return held + computed_bytes(config, num_tokens=at_once, again=again)

    if (needed := needs(recipe.micro_tokens, again)) <= available:
        return
    what = "all weights" if lora is None else f"an adapter of rank {lora.rank}"
    if lora is None:
        remedy = "train an adapter (--lora)"
    elif recipe.quantize is None:
        remedy = f"hold the model in fewer bits (--quantize q4: {gigabytes(packed_bytes(config, 'q4'))})"
    else:
        remedy = "choose a smaller model"
    for less_kept in (again, True):
        micro_tokens = recipe.micro_tokens
        while micro_tokens > longest and needs(micro_tokens, less_kept) > available:
            micro_tokens //= 2
        if needs(micro_tokens, less_kept) <= available:
            fewer = [f"--micro-tokens {micro_tokens}"] if micro_tokens < recipe.micro_tokens else []
            remedy = f"keep less ({' '.join(fewer + ['--recompute'] * (less_kept and not again))})"
            break
    raise ResourceError(
        f"to train {what} takes {gigabytes(needed)}, {gigabytes(held)} of it before anything is computed, and "
        f"{gigabytes(available)} are free: {remedy}, or free some memory"
    )


def _num_adapter_weights(config: ModelConfig, lora: LoraSettings) -> int:
    shapes, total = parameter_shapes(config), 2 * len(lora.token_ids) * config.hidden_size
    for place in find_targets(config, lora.targets).values():
        num_rows, num_columns = shapes[place.parameter]
        total += lora.rank * ((place.num_rows or num_rows) + num_columns)
    return total


def _digest_of_files(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()
