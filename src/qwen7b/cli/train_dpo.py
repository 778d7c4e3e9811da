"""`qwen7b train dpo`: what a model prefers to answer, learned from pairs of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwen7b.cli.option_groups import expand
from qwen7b.cli.tuning_options import TuningOptions


@expand(tuning=TuningOptions)
def dpo(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA", help="Preferences as JSON or JSON lines, in TRL's form: prompt, chosen and rejected."
        ),
    ],
    *,
    tuning: TuningOptions,
    beta: Annotated[
        float, typer.Option("--beta", metavar="X", help="How near to the model as it was: the more, the nearer.")
    ] = 0.1,
    max_length: Annotated[
        int, typer.Option("--max-length", metavar="N", min=2, help="The most tokens of a question and an answer.")
    ] = 2048,
    epochs: Annotated[float, typer.Option("--epochs", metavar="X", help="How often every pair is read.")] = 1.0,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Pairs of a step.")] = 16,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", metavar="X", help="The highest rate.  [default: 5e-6 with --lora, else 5e-7]"),
    ] = None,
) -> None:
    """Train a model to prefer some answers to others (DPO).

    Each pair has a question, a chosen and a rejected answer. The first becomes likelier than the second, measured
    against the model as it was, which is read once before the first step. Run, log and saved steps are as those of sft,
    also under torchrun; the log has the rewards, too, their margin, and the share of pairs in which the chosen one's is
    higher.
    """
    from qwen7b.train.preference_recipe import PreferenceRecipe
    from qwen7b.train.preferring import prefer

    tuning.run(
        prefer,
        PreferenceRecipe,
        data,
        beta=beta,
        max_length=max_length,
        epochs=epochs,
        rows=rows,
        learning_rate=learning_rate,
    )
