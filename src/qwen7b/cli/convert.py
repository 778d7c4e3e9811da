"""`qwen7b convert`: a checkpoint in another format, with the proof that it is the same model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options
from qwen7b.convert.target_format import FewerBits, TargetFormat
from qwen7b.errors import SettingError, counted
from qwen7b.system.progress import shown_size
from qwen7b.system.regular_file import named_text
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.convert import Conversion


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A known name, a folder, a .gguf file or a hub id; or an adapter.")
    ],
    target: Annotated[Path, typer.Argument(metavar="DST", help="What to write: a folder, or a .gguf file.")],
    to: Annotated[TargetFormat, typer.Option("--to", help="The original Qwen's layout, Qwen2's, or GGUF (llama.cpp).")],
    dtype: Annotated[
        options.Precision | None, typer.Option("--dtype", help="Number format; by default every number stays exact.")
    ] = None,
    quantize: Annotated[FewerBits | None, typer.Option("--quantize", help="For gguf: fewer bits a weight.")] = None,
    check_text: Annotated[
        Path | None, typer.Option("--check-text", metavar="FILE", help="Compare the models on this text.")
    ] = None,
    chats: options.Chats = None,
    adapter: options.Adapter = None,
    base: Annotated[
        str | None,
        typer.Option("--adapter-base", metavar="MODEL", help="Of an adapter its model; by default the one it names."),
    ] = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Convert a checkpoint, check every number, report losses.

    An interrupted conversion continues where it stopped. An adapter is written to qwen2, for its base converted so: the
    form that vLLM serves.
    """
    from qwen7b.convert.adapter_conversion import stands_alone
    from qwen7b.hub.saved_steps import last_step

    if stands_alone(last_step(Path(source).expanduser())):
        given = {"dtype": dtype, "quantize": quantize, "check-text": check_text, "chat": chats, "adapter": adapter}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise SettingError(f"--{wrong[0]} is of no use where {source} is an adapter: leave it out")
        _convert_adapter(source, target, to=to, base=base, offline=offline, as_json=as_json)
        return
    if base is not None:
        raise SettingError(f"--adapter-base is the model of an adapter, found {source}, which is none: leave it out")
    optional = {}
    if check_text is not None:
        optional["check_text"] = named_text(check_text, option="--check-text")
    from qwen7b import convert as conversion

    result = conversion.convert(
        source,
        target,
        to=to,
        dtype=None if dtype is None else dtype.value,
        quantize=None if quantize is None else quantize.value,
        chat=chats,
        adapter=adapter,
        offline=offline or None,
        **optional,
    )
    print_conversion(result, as_json=as_json)


def _convert_adapter(
    source: str, target: Path, *, to: TargetFormat, base: str | None, offline: bool, as_json: bool
) -> None:
    from qwen7b.convert.adapter_conversion import convert_adapter

    result = convert_adapter(source, target, to=to, base=base, offline=offline or None)
    if as_json:
        print_json(result.as_document())
        return
    layers = counted(result.num_layers, "linear layer")
    typer.echo(f"{result.target}: rank {result.rank} in {layers}, for {result.base} converted to qwen2.")
    limit = f"--enable-lora --max-lora-rank {result.max_lora_rank}"
    typer.echo(f"Serve it with vLLM: vllm serve CONVERTED_BASE {limit} --lora-modules NAME={result.target}")


def print_conversion(result: Conversion, *, as_json: bool) -> None:
    """Print what was written, how it was checked, and what is lost."""
    if as_json:
        print_json(result.as_document())
        return
    size = sum(file.bytes for file in result.files.values())
    typer.echo(
        f"{result.target}: {shown_size(size)}, {counted(result.num_tensors, 'tensor')} checked against the source."
    )
    logits = result.logits
    typer.echo(
        f"Logits differ by at most {logits.largest_difference:.2g} over {counted(logits.tokens, 'token')}; the "
        f"likeliest token is the same for {logits.same_likeliest_token:.0%}."
    )
    for sentence in result.changed:
        typer.echo(f"Changed: {sentence}")
    for sentence in result.lost or ["nothing."]:
        typer.echo(f"Lost: {sentence}")
