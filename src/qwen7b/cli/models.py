"""`qwen7b pull` and `qwen7b models`: fetching a known model, and what is there."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from qwen7b.cli import options


def pull(
    name: Annotated[str, typer.Argument(help="A name that qwen7b models lists, or a hub id.")],
    offline: options.Offline = False,
) -> None:
    """Fetch a model unless it is cached, and print its path."""
    from qwen7b.weights import locate

    typer.echo(locate(name, offline=offline or None))


def models(as_json: options.Json = False) -> None:
    """List the models that a name fetches and those that are cached."""
    from qwen7b.weights import list_models, list_official_models

    listed, official = list_models(), list_official_models()
    if as_json:
        documents = [
            {
                "name": model.name,
                "title": model.title,
                "licence": model.licence,
                "size": model.size,
                "cached": model.is_cached,
                "path": None if model.path is None else str(model.path),
            }
            for model in (*listed, *official)
        ]
        typer.echo(json.dumps(documents, ensure_ascii=False))
        return
    rows = [("NAME", "CACHED", "SIZE", "LICENCE", "TITLE")]
    for model in (*listed, *official):
        cached = "yes" if model.is_cached else "no"
        rows.append((model.name, cached, f"{model.size / 1e6:,.0f} MB", model.licence or "?", model.title))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
