"""`qwen7b train labels`: shows what a model would be trained on, token by token."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from qwen7b.cli import options
from qwen7b.cli.tool_options import DialectName
from qwen7b.errors import SettingError
from qwen7b.system.whole_file import write_text_whole
from qwen7b.terminal.streams import print_json
from qwen7b.terminal.visible import visible

if TYPE_CHECKING:
    from rich.text import Text

    from qwen7b.text import Tokenizer
    from qwen7b.train.labels import TrainingExample

Data: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA", help="Conversations as JSON or JSON lines: OpenAI's form, ShareGPT's, Alpaca's, finetune.py's."
    ),
]
LabelMode: TypeAlias = Annotated[
    Literal["assistant", "original"],
    typer.Option(
        "--mode",
        help="What is trained. assistant: what the assistant writes, with the token that ends it; original: also what "
        "stands around every message, as the original's finetune.py does.",
    ),
]
_STYLES = {True: ("black on bright_green", "black on green"), False: ("white on grey23", "white on grey35")}
"""The styles of targets and of other tokens, of which neighbours have different ones."""


def labels(
    data: Data,
    mode: LabelMode = "assistant",
    tokenizer: Annotated[
        str,
        typer.Option("--tokenizer", metavar="PATH", help="A tokenizer's file or folder, or a model as for --model."),
    ] = "demo",
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length", metavar="N", min=2, help="Cut examples by whole turns (original: anywhere) to N tokens."
        ),
    ] = None,
    dialect: DialectName = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N conversations.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the tokens as a web page.")] = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Show what of conversations a model would be trained on.

    Each token stands on green where the model learns to write it, and on grey where it only reads it; without colours
    there is a line for each token, and targets are marked with ">". --json prints a list of objects with input_ids and
    labels, where -100 is no target.
    """
    from itertools import islice

    from qwen7b import load_tokenizer
    from qwen7b.train.conversations import read_conversations
    from qwen7b.train.labels import label_all, make_labelling

    loaded = load_tokenizer(tokenizer, offline=offline or None)
    labelling = make_labelling(loaded, dialect=dialect, model=tokenizer, mode=mode, max_length=max_length)
    examples = label_all(islice(read_conversations(data), limit), labelling)
    if html is not None:
        _write_html(html, examples, loaded)
    if as_json:
        listed = [{"input_ids": each.input_ids.tolist(), "labels": each.labels.tolist()} for each in examples]
        print_json(listed)
    elif html is None:
        _show(examples, loaded)


def _show(examples: Sequence[TrainingExample], tokenizer: Tokenizer) -> None:
    from qwen7b.terminal.display import chat_console

    console = chat_console() if sys.stdout.isatty() else None
    for example in examples:
        typer.echo(f"{_heading(example)}\n")
        if console is not None and console.color_system is not None:
            console.print(_coloured(example, tokenizer), soft_wrap=True)
        else:
            for id, piece, is_target in _pieces(example, tokenizer):
                typer.echo(f"{'>' if is_target else ' '} {id:>6}  {json.dumps(piece, ensure_ascii=False)}")
        typer.echo()


def _heading(example: TrainingExample) -> str:
    return f"{example.place}: {len(example.input_ids):,} tokens, of which {example.num_targets:,} are targets"


def _write_html(path: Path, examples: Sequence[TrainingExample], tokenizer: Tokenizer) -> None:
    from rich.console import Console

    page = Console(record=True, file=io.StringIO(), width=120)
    for example in examples:
        page.print(f"\n{_heading(example)}\n", style="bold", markup=False, highlight=False)
        page.print(_coloured(example, tokenizer))
    try:
        write_text_whole(path, page.export_html())
    except OSError as error:
        raise SettingError(f"--html {path} cannot be written: {error.strerror or error}; name another file") from error


def _coloured(example: TrainingExample, tokenizer: Tokenizer) -> Text:
    """The tokens, each in its colour; a newline is shown, and made."""
    from rich.text import Text

    text = Text()
    for place, (_, piece, is_target) in enumerate(_pieces(example, tokenizer)):
        text.append(visible(piece).replace("\n", "⏎\n"), style=_STYLES[is_target][place % 2])
    return text


def _pieces(example: TrainingExample, tokenizer: Tokenizer) -> Iterator[tuple[int, str, bool]]:
    """The id of each token, its text and whether it is a target; bytes of a broken character as \\xe4 and the like."""
    for id, label in zip(example.input_ids.tolist(), example.labels.tolist(), strict=True):
        yield id, tokenizer.decode_bytes([id]).decode("utf-8", "backslashreplace"), label >= 0
