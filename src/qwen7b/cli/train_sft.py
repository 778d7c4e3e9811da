"""`qwen7b train sft` and `qwen7b train merge`: fine-tuning on conversations, and its result as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from qwen7b.cli import options, tuning_options
from qwen7b.cli.tool_options import DialectName
from qwen7b.cli.train_labels import Data, LabelMode
from qwen7b.convert.target_format import FewerBits, TargetFormat
from qwen7b.errors import SettingError
from qwen7b.files.file_names import is_gguf
from qwen7b.packed.formats import FORMATS

if TYPE_CHECKING:
    MergedFormat: TypeAlias = str
else:  # typer lists and accepts the formats' own names
    MergedFormat = Literal[(*FORMATS, *(bits.value for bits in FewerBits))]


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
    shards: tuning_options.Shards = None,
    rank_timeout: tuning_options.RankTimeout = 600.0,
    threads: options.Threads = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Train a model further on conversations.

    What is learned is what the assistant writes: `qwen7b train labels` shows it. The run's folder keeps the recipe, a
    log, and the saved steps: with --lora an adapter as PEFT reads it, else a whole checkpoint. torchrun starts the same
    command many times, to train one model together.
    """
    options.set_threads(threads)
    from qwen7b.train.finetune_recipe import FinetuneRecipe
    from qwen7b.train.finetuning import finetune
    from qwen7b.train.mesh_settings import MeshSettings

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
    mesh = MeshSettings(shards=shards, timeout=rank_timeout)
    saved = finetune(recipe, out, control_rows=control_rows, device=device, mesh=mesh, offline=offline or None)
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
    quantize: Annotated[
        MergedFormat | None,
        typer.Option(
            "--quantize", help="Fewer bits a weight: q8, q4 or nf4 for a packed folder, the others for a .gguf file."
        ),
    ] = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Write what a run trained as a model of its own.

    An adapter is added to the weights of its base, as the run held them: they may be quantized, and may be quantized
    again. Tokenizer and settings go along. Every number and the logits of a text are checked, as by `qwen7b convert`,
    but in a folder of packed weights.
    """
    from qwen7b.cli.convert import print_conversion
    from qwen7b.cli.quantize import print_packed
    from qwen7b.train.merging import merge as write_merged
    from qwen7b.train.merging import merge_packed

    if quantize in FORMATS:
        if to is not None or dtype is not None:
            raise SettingError(f"--quantize {quantize} writes a packed folder: leave out --to and --dtype")
        if is_gguf(target.name):
            raise SettingError(
                f"--quantize {quantize} writes a folder, found {target}: for a .gguf file give q8_0 or q4_0"
            )
        print_packed(merge_packed(run, target, format=quantize, base=base, offline=offline or None), as_json=as_json)
        return
    result = write_merged(
        run,
        target,
        base=base,
        to=to,
        dtype=None if dtype is None else dtype.value,
        quantize=quantize,
        offline=offline or None,
    )
    print_conversion(result, as_json=as_json)
