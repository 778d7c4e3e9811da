"""`qwen7b tokenize`: shows the tokens that a model reads for a text."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from qwen7b.cli import options
from qwen7b.terminal.prompts import read_text
from qwen7b.terminal.streams import print_json


def tokenize(
    text: Annotated[
        str | None, typer.Argument(help="The text; without it, standard input to its last byte.", show_default=False)
    ] = None,
    model: options.Model = "demo",
    special: Annotated[
        bool, typer.Option("--special", help="Let <|im_start|> and its like be control tokens, not text.")
    ] = False,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Show the tokens of a text: ids, pieces and their number.

    A BOS token that the model reads before every text is among them.
    The model may also be a tokenizer file.
    """
    text = read_text(text)
    from qwen7b import load_tokenizer

    tokenizer = load_tokenizer(model, offline=offline or None)
    ids = tokenizer.after_bos(tokenizer.encode(text, allowed_special="all" if special else frozenset()))
    # A piece may hold part of a character: its bytes are then shown as \\xe4 and the like.
    pieces = [tokenizer.decode_bytes([token]).decode("utf-8", "backslashreplace") for token in ids]
    counts = {"tokens": len(ids), "characters": len(text), "bytes": len(text.encode())}
    if as_json:
        document = {"model": model, "text": text, "ids": ids, "pieces": pieces, "counts": counts}
        print_json(document)
        return
    for token, piece in zip(ids, pieces, strict=True):
        typer.echo(f"{token:>6}  {json.dumps(piece, ensure_ascii=False)}")
    typer.echo(", ".join(f"{what}: {count}" for what, count in counts.items()))
