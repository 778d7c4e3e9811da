"""The loop of training, whatever is trained on: micro-batches in, changed weights out, each step logged.

    gradients   of all micro-batches of a step, summed, over the number of terms of the whole step, as of its targets
    clip        their common norm is cut down to a limit; a spike changes nothing
    update      the weights follow, at the rate of the schedule

A step is a pure function of the weights, the optimizers and its number: the data are (`Batches`), and dropout is drawn
from seed and step. So a run that was stopped goes on to the same bits.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from qwen7b.errors import SettingError, TrainingError
from qwen7b.model import Transformer
from qwen7b.train.checkpoints import Evaluate, RunFolder, SavedStep, WeightFiles
from qwen7b.train.fused_layer import fused_layers
from qwen7b.train.loss import run_layers_again
from qwen7b.train.micro_batch import Batches, MicroBatch
from qwen7b.train.not_finite import first_not_finite
from qwen7b.train.objective import Objective, next_token_loss
from qwen7b.train.optimizers import Optimizers
from qwen7b.train.ranks import ALONE, Ranks
from qwen7b.train.recipe import Training
from qwen7b.train.run_log import RunLog, StepRecord, read_log
from qwen7b.train.run_pace import RunPace

_NORMS = 64
"""The steps whose gradient norms say what is usual."""
_ENOUGH_NORMS = 16
"""The norms that are needed to say so."""


def train(
    model: Transformer,
    batches: Batches,
    settings: Training,
    *,
    run: RunFolder,
    weights: WeightFiles,
    dtype: torch.dtype,
    objective: Objective = next_token_loss,
    evaluate: Evaluate | None = None,
    peak: float | None = None,
) -> Path:
    """Train a model's parameters that require gradients, in the folder of a run that is held.

    Goes on after the last saved step, if there is one. `evaluate` is called after each step and says what else is
    logged. `peak` is what the machine computes at most, in operations a second. With several ranks each brings its own
    part of the batches, and the first keeps the log. Returns the folder of the last step.

    Raises TrainingError where a loss or a gradient is no number, ResourceError where the disk is full.
    """
    optimizers = Optimizers(settings.optimizer, model)
    if not optimizers.trained:
        raise SettingError("no weight of the model requires gradients, so there is nothing to train")
    restored = run.restore(model=model, optimizers=optimizers, weights=weights)
    saved = restored or SavedStep(step=0, log_bytes=0)
    ranks, spikes = run.ranks, Spikes(settings.spike_factor)
    for entry in ranks.on_first(lambda: [*read_log(run.log_path)] if restored else []):
        if "grad_norm" in entry and entry["step"] <= saved.step:
            spikes.note(entry["grad_norm"])
    with ExitStack() as stack:
        log = pace = None
        if ranks.rank == 0:
            log = stack.enter_context(RunLog(run.log_path, num_bytes=saved.log_bytes))
            pace = stack.enter_context(RunPace(run.speed_path, model, peak=peak))
            pace.start(done=saved.step, total=settings.steps)
        for step in range(saved.step, settings.steps):
            parts = batches(step)
            record = take_step(
                model,
                optimizers,
                parts,
                settings,
                step=step,
                spikes=spikes,
                dtype=dtype,
                objective=objective,
                ranks=ranks,
            )
            if log and pace:
                log.add(record.entry())
                num_tokens = sum(part.num_tokens for part in parts)
                pace.add(record, length=num_tokens / sum(len(part.sequences) for part in parts))
            fields = {} if evaluate is None else evaluate(step + 1)
            if log and fields:
                log.add({"step": step + 1, **fields})
            run.finish_saving(wait=False)
            if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
                saved = SavedStep(step=step + 1, log_bytes=log.sync() if log else 0)
                run.save(saved, model=model, optimizers=optimizers, weights=weights, keep=settings.keep)
            if pace:
                pace.pause()
        run.finish_saving()
    return ranks.on_first(run.saved_steps)[-1]


def take_step(
    model: Transformer,
    optimizers: Optimizers,
    batches: Sequence[MicroBatch],
    settings: Training,
    *,
    step: int,
    spikes: Spikes,
    dtype: torch.dtype = torch.float32,
    objective: Objective = next_token_loss,
    ranks: Ranks = ALONE,
) -> StepRecord:
    """Change the weights once by the micro-batches of a step, counted from 0, of which each rank brings its own.

    Raises TrainingError, which names the step and the module, where a loss or a gradient is no number.
    """
    counts = ("num_tokens", "num_targets", "num_terms")
    own_counts = (sum(getattr(batch, name) for batch in batches) for name in counts)
    tokens, targets, terms = map(int, ranks.sums(*own_counts))
    if targets == 0:
        raise TrainingError(f"step {step + 1} has no token to learn: look at the labels of its data")
    seed = (settings.seed << 32) + (ranks.rank << 24) + step  # no two ranks drop the same
    with computing_gradients(model, again=settings.activation_checkpointing):
        torch.manual_seed(seed)
        total, logged = 0.0, defaultdict[str, float](float)
        for batch in batches:
            loss = ranks.run(objective, model, batch, dtype=dtype)
            (loss.total / terms).backward()  # type: ignore[no-untyped-call]
            total += loss.total.item()
            for name, value in loss.logged.items():
                logged[name] += value
        total, *sums = ranks.sums(total, *logged.values())
        gradients = [parameter.grad for parameter in optimizers.trained.values() if parameter.grad is not None]
        norm = ranks.whole(get_total_norm(gradients))
        grad_norm, rate_factor = norm.item(), settings.schedule.factor(step, steps=settings.steps)
        if not (math.isfinite(total) and math.isfinite(grad_norm)):
            torch.manual_seed(seed)  # for the same dropout
            where = first_not_finite(model, batches, dtype=dtype, objective=objective, ranks=ranks)
            raise TrainingError(
                f"step {step + 1} has the loss {total / terms} and the gradient norm {grad_norm}: {where}; lower the "
                "learning rate, lengthen the warm-up or look at the data, then train in another folder"
            )
    is_spike = spikes.is_spike(grad_norm)
    spikes.note(grad_norm)
    rate = settings.optimizer.learning_rate * rate_factor
    if not is_spike:
        clip_grads_with_norm_(optimizers.trained.values(), settings.max_grad_norm, norm)
        optimizers.step(rate=rate)
    optimizers.zero_grad()
    return StepRecord(
        step=step + 1,
        loss=total / terms,
        grad_norm=grad_norm,
        learning_rate=rate,
        tokens=tokens,
        targets=targets,
        skipped=is_spike,
        logged={name: value / terms for name, value in zip(logged, sums, strict=True)},
    )


@contextmanager
def computing_gradients(model: Transformer, *, again: bool) -> Iterator[None]:
    """Put a model in training mode; `again` computes layers a second time instead of keeping what is inside them."""
    runner = model.runner
    model.train()
    model.runner = run_layers_again if again else runner
    try:
        with fused_layers(model):
            yield
    finally:
        model.eval()
        model.runner = runner


def try_gradients(model: Transformer, batch: MicroBatch, *, again: bool, dtype: torch.dtype) -> None:
    """Compute the gradients of a micro-batch and forget them, to see how long that takes."""
    with computing_gradients(model, again=again):
        next_token_loss(model, batch, dtype=dtype).total.backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)


class Spikes:
    """Knows the gradient norms of the last steps, and so what is far beyond the usual."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._norms: deque[float] = deque(maxlen=_NORMS)

    def note(self, norm: float) -> None:
        self._norms.append(norm)

    def is_spike(self, norm: float) -> bool:
        """Whether a norm is `factor` times the median of the last ones; of few nothing can be said."""
        return len(self._norms) >= _ENOUGH_NORMS and norm > self.factor * statistics.median(self._norms)
