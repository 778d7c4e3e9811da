"""`qwen7b data tokenize`: documents become token shards, which models are trained on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from qwen7b.cli import options
from qwen7b.cli.data_clean import Errors, Format, IdField, Inputs, MaxDocument, Out, TextField
from qwen7b.errors import counted
from qwen7b.terminal.streams import print_json


def tokenize_data(
    inputs: Inputs,
    out: Out,
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", metavar="NAME", help="A tokenizer's file or folder, or a model's name.")
    ],
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out",
            metavar="SHARE",
            help="Write this share of documents to DIR-held-out instead, to measure a model on.",
        ),
    ] = 0.0,
    format: Format = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    max_document_mb: MaxDocument = 32.0,
    errors: Errors = "stop",
    threads: options.Threads = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Write documents as token shards to train on.

    Shards are files of token ids that are mapped, with a hash of data, tokenizer and settings: qwen7b train refuses
    damaged ones, and those of another tokenizer. Each document ends in <|endoftext|>; names of control tokens in it are
    text.
    """
    options.set_threads(threads)
    from qwen7b.data import Sources, tokenize_corpus
    from qwen7b.data.reading import ReadingSettings
    from qwen7b.loading import load_tokenizer

    sources = Sources.parsed(
        inputs,
        ReadingSettings(kind=format, text_field=text_field, id_field=id_field, max_document_mb=max_document_mb),
    )
    loaded = load_tokenizer(tokenizer, offline=offline or None)
    corpus = tokenize_corpus(sources, out, tokenizer=loaded, held_out=held_out, skips=errors == "skip")
    if as_json:
        indexes = {"shards": corpus.shards, "held_out": corpus.held_out}
        fields = {name: None if index is None else asdict(index) for name, index in indexes.items()}
        print_json({**fields, "digest": corpus.shards.digest, "skipped": dict(corpus.intake.skipped)})
        return
    for name, index in ((str(out), corpus.shards), (f"{out}-held-out", corpus.held_out)):
        if index is not None:
            typer.echo(
                f"{name}: {index.num_tokens:,} tokens of {counted(index.num_documents, 'document')}, "
                f"{index.num_bytes / max(index.num_tokens, 1):.2f} bytes a token"
            )
    if skipped := sum(corpus.intake.skipped.values()):
        typer.echo(f"{counted(skipped, 'document')} could not be read and were skipped.")
