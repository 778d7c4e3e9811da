"""`qwen7b vocab train`: a new vocabulary of byte pairs, for a model that is trained from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwen7b.cli import options
from qwen7b.cli.data_clean import Format, Inputs, TextField
from qwen7b.errors import SettingError
from qwen7b.terminal.streams import print_json


def train_vocab(
    inputs: Inputs,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The tokenizer.json to write.")],
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", help="The size of the vocabulary, control tokens included.")
    ] = 4096,
    format: Format = None,
    text_field: TextField = "text",
    as_json: options.Json = False,
) -> None:
    """Train a new vocabulary on texts.

    It cuts text as Qwen's does, has the 256 bytes, the byte pairs that occur most, and ChatML's three control tokens.
    For models of a few million weights: 2,000 to 8,000 tokens; for more languages or a large model more.
    """
    if out.suffix != ".json":
        raise SettingError(f"--out must be the name of a .json file, found {str(out)!r}: name it tokenizer.json")
    from qwen7b.data import Intake, Sources, read_documents
    from qwen7b.data.reading import ReadingSettings
    from qwen7b.vocab.byte_pairs import train_vocabulary, write_vocabulary

    sources = Sources.parsed(inputs, ReadingSettings(kind=format, text_field=text_field))
    intake = Intake()
    texts = (document.text for document in read_documents(sources, intake))
    vocabulary = train_vocabulary(texts, num_tokens=tokens)
    write_vocabulary(vocabulary, out)
    if as_json:
        print_json({"file": str(out), "tokens": tokens, "documents": intake.documents, "characters": intake.characters})
    else:
        typer.echo(f"{out}: {tokens:,} tokens, of {intake.characters:,} characters in {intake.documents:,} documents")
