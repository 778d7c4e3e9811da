"""`qwen7b data dedup`: one document of each cluster of copies and near copies stays."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen7b.cli import options
from qwen7b.cli.data_clean import (
    Errors,
    Format,
    IdField,
    Inputs,
    MaxDocument,
    Out,
    Seed,
    TextField,
    WeightList,
    show_card,
)


def dedup(
    inputs: Inputs,
    out: Out,
    min_similarity: Annotated[
        float,
        typer.Option(
            "--min-similarity", metavar="S", help="The share of n-grams, of all that two texts have, that makes copies."
        ),
    ] = 0.75,
    ngram: Annotated[int, typer.Option("--ngram", metavar="N", min=1, help="Words in a row that are compared.")] = 5,
    bands: Annotated[
        int, typer.Option("--bands", metavar="N", min=1, help="More find more copies, in more time.")
    ] = 14,
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", min=1, help="Minima that must agree in a band; more find fewer.")
    ] = 8,
    weights: WeightList = "",
    seed: Seed = 0,
    format: Format = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    max_document_mb: MaxDocument = 32.0,
    errors: Errors = "stop",
    as_json: options.Json = False,
) -> None:
    """Keep one document of each cluster of copies and near copies.

    Copies have the same text but for case and blanks. Near copies are found by MinHash, with datatrove's parameters,
    and confirmed on their n-grams themselves. Of a cluster the longest document stays, and of equally long ones the
    first. OUT gets JSON lines in parts and a card. All sources are compared with each other.
    """
    from qwen7b.data import NearCopySettings, Sources, Weights, dedup_corpus
    from qwen7b.data.reading import ReadingSettings

    card = dedup_corpus(
        Sources.parsed(
            inputs,
            ReadingSettings(kind=format, text_field=text_field, id_field=id_field, max_document_mb=max_document_mb),
        ),
        out,
        settings=NearCopySettings(min_similarity=min_similarity, ngram=ngram, bands=bands, rows=rows),
        weights=Weights.parsed(weights, seed=seed),
        skips=errors == "skip",
    )
    show_card(card, out, as_json=as_json)
