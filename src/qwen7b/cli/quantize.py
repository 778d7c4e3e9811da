"""`qwen7b quantize`: packs a checkpoint into a folder that loads by memory mapping and needs less memory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options
from qwen7b.errors import SettingError
from qwen7b.system.progress import shown_size
from qwen7b.system.regular_file import named_text
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.convert import PackedFolder


def quantize(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A known name, a folder, a .gguf file or a hub id.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write.")],
    format: Annotated[
        options.PackedFormat,
        typer.Option("--format", help="Bits per weight: 8, 4 with the least error, or bitsandbytes' 4."),
    ],
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", metavar="FILE", help="For q4: a text like those that the model will read."),
    ] = None,
    data_free: Annotated[
        bool, typer.Option("--data-free", help="For q4: look at the weights only; quicker and less exact.")
    ] = False,
    gptq: Annotated[
        bool, typer.Option("--gptq", help="For q4: let rounding errors compensate for each other; slower, more exact.")
    ] = False,
    threads: options.Threads = None,
    chats: options.Chats = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Pack a checkpoint's weights into a folder that loads fast.

    The folder is mapped into memory as it is: it needs a half to a quarter of the memory, and no packing at each start.
    """
    if data_free and (calibrate or gptq):
        raise SettingError("--data-free leaves no text for --calibrate or --gptq: drop one or the other")
    text = "" if data_free else None
    if calibrate is not None:
        text = named_text(calibrate, option="--calibrate")
        if not text.strip():
            raise SettingError(f"--calibrate {calibrate} is empty: give some thousand words of text")
    options.set_threads(threads)
    from qwen7b import convert

    folder = convert.quantize(
        source, target, format=format, calibration_text=text, gptq=gptq, chat=chats, offline=offline or None
    )
    print_packed(folder, as_json=as_json)


def print_packed(folder: PackedFolder, *, as_json: bool) -> None:
    """Show what was packed."""
    if as_json:
        print_json(asdict(folder))
    else:
        typer.echo(f"{folder.target}: {shown_size(folder.bytes)} as {folder.format}, in {folder.seconds:.0f} s.")
