"""`qwen7b train sft` and `qwen7b train merge`: fine-tuning on conversations, and its result as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from qwen7b.cli import options
from qwen7b.cli.option_groups import expand
from qwen7b.cli.train_labels import Data, LabelMode
from qwen7b.cli.tuning_options import TuningOptions
from qwen7b.convert.target_format import FewerBits, TargetFormat
from qwen7b.errors import SettingError
from qwen7b.files.file_names import is_gguf
from qwen7b.packed.formats import FORMATS

if TYPE_CHECKING:
    MergedFormat: TypeAlias = str
else:  # typer lists and accepts the formats' own names
    MergedFormat = Literal[(*FORMATS, *(bits.value for bits in FewerBits))]


@expand(tuning=TuningOptions)
def sft(
    data: Data,
    *,
    tuning: TuningOptions,
    mode: LabelMode = "assistant",
    max_length: Annotated[
        int, typer.Option("--max-length", metavar="N", min=2, help="Tokens of an example; longer ones lose turns.")
    ] = 2048,
    epochs: Annotated[float, typer.Option("--epochs", metavar="X", help="How often every example is read.")] = 5.0,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Examples of a step.")] = 16,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", metavar="X", help="The highest rate.  [default: 3e-4 with --lora, else 1e-5]"),
    ] = None,
) -> None:
    """Train a model further on conversations.

    What is learned is what the assistant writes: `qwen7b train labels` shows it. The run's folder keeps the recipe, a
    log, and the saved steps: with --lora an adapter as PEFT reads it, else a whole checkpoint. torchrun starts the same
    command many times, to train one model together.
    """
    from qwen7b.train.finetune_recipe import FinetuneRecipe
    from qwen7b.train.finetuning import finetune

    tuning.run(
        finetune,
        FinetuneRecipe,
        data,
        mode=mode,
        max_length=max_length,
        epochs=epochs,
        rows=rows,
        learning_rate=learning_rate,
    )


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
