"""`qwen7b train sft` and `qwen7b train merge`: fine-tuning on conversations, and its result as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qwen7b.cli import options
from qwen7b.cli.tool_options import DialectName
from qwen7b.cli.train_labels import Data, LabelMode
from qwen7b.convert.target_format import FewerBits, TargetFormat
from qwen7b.errors import SettingError
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.adapters.settings import LoraSettings


def sft(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The run's folder; one that was stopped goes on.")],
    model: options.Model = "demo",
    lora: Annotated[
        bool, typer.Option("--lora", help="Train an adapter beside the weights; by default all weights are trained.")
    ] = False,
    rank: Annotated[int | None, typer.Option("--rank", metavar="N", help="The adapter's rank.  [default: 64]")] = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", metavar="X", help="The adapter's weight is alpha / rank.  [default: 16]")
    ] = None,
    dropout: Annotated[
        float | None, typer.Option("--dropout", metavar="P", help="Dropout before the adapter.  [default: 0.05]")
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            metavar="LIST",
            help="Layers with an adapter, as in c_attn,w1; by default all; none: only the rows of --control-rows.",
        ),
    ] = None,
    control_rows: Annotated[
        bool | None,
        typer.Option(
            "--control-rows/--no-control-rows",
            help="Train the rows of <|im_start|> and <|im_end|> beside the adapter; by default where they look "
            "untrained, as in base models.",
        ),
    ] = None,
    mode: LabelMode = "assistant",
    max_length: Annotated[
        int, typer.Option("--max-length", metavar="N", min=2, help="Tokens of an example; longer ones lose turns.")
    ] = 2048,
    dialect: DialectName = None,
    epochs: Annotated[float, typer.Option("--epochs", metavar="X", help="How often every example is read.")] = 5.0,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="Steps to train for, in place of --epochs.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Examples of a step.")] = 16,
    micro_tokens: Annotated[
        int, typer.Option("--micro-tokens", metavar="N", min=1, help="Tokens that are computed at once.")
    ] = 4096,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", metavar="X", help="The highest rate.  [default: 3e-4 with --lora, else 1e-5]"),
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option("--precision", help="What products are computed in; auto: what a probe finds faster."),
    ] = "auto",
    recompute: Annotated[
        bool,
        typer.Option("--recompute", help="Compute layers again for the gradients: less memory, a third more time."),
    ] = False,
    save_every: Annotated[int, typer.Option("--save-every", metavar="N", min=1, help="Steps between two saves.")] = 200,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same run.")] = 0,
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
        lora=_lora(model, lora, rank, alpha, dropout, targets, control_rows, offline=offline),
    )
    saved = finetune(recipe, out, control_rows=control_rows, device=device, offline=offline or None)
    if as_json:
        print_json({"run": str(out), "saved": str(saved), "adapter": lora})
        return
    typer.echo(f"Saved in {saved}.")
    use = f"qwen7b chat --model {model} --adapter {saved}" if lora else f"qwen7b chat --model {saved}"
    typer.echo(f"Try it: {use}\nAs a model of its own: qwen7b train merge {out} FOLDER")


def _lora(
    model: str,
    is_asked: bool,
    rank: int | None,
    alpha: float | None,
    dropout: float | None,
    targets: str | None,
    control_rows: bool | None,
    *,
    offline: bool,
) -> LoraSettings | None:
    """The adapter's settings; None where all weights are trained."""
    given: dict[str, Any] = {"rank": rank, "alpha": alpha, "dropout": dropout}
    chosen = {name: value for name, value in given.items() if value is not None}
    if not is_asked:
        others = {**chosen, "targets": targets, "control-rows": control_rows}
        if wrong := [name for name, value in others.items() if value is not None]:
            raise SettingError(f"--{wrong[0]} is a setting of an adapter: give --lora, too, or leave it out")
        return None
    from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings
    from qwen7b.checkpoint import open_checkpoint
    from qwen7b.hub import locate

    family = open_checkpoint(locate(model, offline=offline or None)).config.family
    names = DEFAULT_TARGETS[family] if targets is None else tuple(name.strip() for name in targets.split(","))
    return LoraSettings(targets=() if names == ("none",) else names, **chosen)


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
