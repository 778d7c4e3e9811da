"""`qwen7b train sft` and `qwen7b train merge`: fine-tuning on conversations, and its result as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwen7b.cli import options, tuning_options
from qwen7b.cli.tool_options import DialectName
from qwen7b.cli.train_labels import Data, LabelMode
from qwen7b.convert.target_format import FewerBits, TargetFormat


def sft(
    data: Data,
    out: tuning_options.Out,
    model: options.Model = "demo",
    lora: tuning_options.Lora = False,
    rank: tuning_options.Rank = None,
    alpha: tuning_options.Alpha = None,
    dropout: tuning_options.Dropout = None,
    targets: tuning_options.Targets = None,
    control_rows: tuning_options.ControlRows = None,
    quantize: tuning_options.Quantize = None,
    mode: LabelMode = "assistant",
    max_length: Annotated[
        int, typer.Option("--max-length", metavar="N", min=2, help="Tokens of an example; longer ones lose turns.")
    ] = 2048,
    dialect: DialectName = None,
    epochs: Annotated[float, typer.Option("--epochs", metavar="X", help="How often every example is read.")] = 5.0,
    steps: tuning_options.Steps = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Examples of a step.")] = 16,
    micro_tokens: tuning_options.MicroTokens = 4096,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", metavar="X", help="The highest rate.  [default: 3e-4 with --lora, else 1e-5]"),
    ] = None,
    precision: tuning_options.FormatOfProducts = "auto",
    recompute: tuning_options.Recompute = False,
    save_every: tuning_options.SaveEvery = 200,
    seed: tuning_options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Train a model further on conversations.

    What is learned is what the assistant writes: `qwen7b train labels` shows it. The run's folder keeps the recipe, a
    log, and the saved steps: with --lora an adapter as PEFT reads it, else a whole checkpoint.
    """
    options.set_threads(threads)
    from qwen7b.train.finetune_recipe import FinetuneRecipe
    from qwen7b.train.finetuning import finetune

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
    recipe = FinetuneRecipe(
        model=model,
        data=tuple(map(str, data)),
        mode=mode,
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
    saved = finetune(recipe, out, control_rows=control_rows, device=device, offline=offline or None)
    tuning_options.show_saved(out, saved, model=model, lora=lora, as_json=as_json)


def merge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or an adapter's.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="What to write: a folder, or a .gguf file.")],
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", help="The adapter's model; by default the one it names.")
    ] = None,
    to: Annotated[
        TargetFormat | None, typer.Option("--to", help="The layout to write; by default the base's own.")
    ] = None,
    dtype: Annotated[
        options.Precision | None, typer.Option("--dtype", help="Number format; by default the base's.")
    ] = None,
    quantize: Annotated[FewerBits | None, typer.Option("--quantize", help="For gguf: fewer bits a weight.")] = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Write what a run trained as a model of its own.

    An adapter is added to the weights of its base, which may be quantized; tokenizer and settings go along. Every
    number and the logits of a text are checked, as by `qwen7b convert`.
    """
    from qwen7b.cli.convert import print_conversion
    from qwen7b.train.merging import merge as write_merged

    result = write_merged(
        run,
        target,
        base=base,
        to=to,
        dtype=None if dtype is None else dtype.value,
        quantize=None if quantize is None else quantize.value,
        offline=offline or None,
    )
    print_conversion(result, as_json=as_json)
