"""`qwen7b train dpo`: what a model prefers to answer, learned from pairs of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwen7b.cli import options, tuning_options
from qwen7b.cli.tool_options import DialectName


def dpo(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA", help="Preferences as JSON or JSON lines, in TRL's form: prompt, chosen and rejected."
        ),
    ],
    out: tuning_options.Out,
    model: options.Model = "demo",
    beta: Annotated[
        float, typer.Option("--beta", metavar="X", help="How near to the model as it was: the more, the nearer.")
    ] = 0.1,
    lora: tuning_options.Lora = False,
    rank: tuning_options.Rank = None,
    alpha: tuning_options.Alpha = None,
    dropout: tuning_options.Dropout = None,
    targets: tuning_options.Targets = None,
    control_rows: tuning_options.ControlRows = None,
    quantize: tuning_options.Quantize = None,
    max_length: Annotated[
        int, typer.Option("--max-length", metavar="N", min=2, help="The most tokens of a question and an answer.")
    ] = 2048,
    dialect: DialectName = None,
    epochs: Annotated[float, typer.Option("--epochs", metavar="X", help="How often every pair is read.")] = 1.0,
    steps: tuning_options.Steps = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Pairs of a step.")] = 16,
    micro_tokens: tuning_options.MicroTokens = 4096,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", metavar="X", help="The highest rate.  [default: 5e-6 with --lora, else 5e-7]"),
    ] = None,
    precision: tuning_options.FormatOfProducts = "auto",
    recompute: tuning_options.Recompute = False,
    save_every: tuning_options.SaveEvery = 200,
    seed: tuning_options.Seed = 0,
    device: options.Device = "auto",
    shards: tuning_options.Shards = None,
    rank_timeout: tuning_options.RankTimeout = 600.0,
    threads: options.Threads = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Train a model to prefer some answers to others (DPO).

    Each pair has a question, a chosen and a rejected answer. The first becomes likelier than the second, measured
    against the model as it was, which is read once before the first step. Run, log and saved steps are as those of sft,
    also under torchrun; the log has the rewards, too, their margin, and the share of pairs in which the chosen one's is
    higher.
    """
    options.set_threads(threads)
    from qwen7b.train.mesh_settings import MeshSettings
    from qwen7b.train.preference_recipe import PreferenceRecipe
    from qwen7b.train.preferring import prefer

    adapter = tuning_options.lora_settings(
        model,
        lora,
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=targets,
        control_rows=control_rows,
        quantize=quantize,
        offline=offline,
    )
    recipe = PreferenceRecipe(
        model=model,
        data=tuple(map(str, data)),
        beta=beta,
        max_length=max_length,
        dialect=dialect,
        rows=rows,
        micro_tokens=micro_tokens,
        epochs=epochs,
        steps=steps,
        learning_rate=learning_rate,
        seed=seed,
        precision=precision,
        activation_checkpointing=recompute,
        save_every=save_every,
        quantize=quantize,
        lora=adapter,
    )
    mesh = MeshSettings(shards=shards, timeout=rank_timeout)
    saved = prefer(recipe, out, control_rows=control_rows, device=device, mesh=mesh, offline=offline or None)
    tuning_options.show_saved(out, saved, model=model, lora=lora, as_json=as_json)
