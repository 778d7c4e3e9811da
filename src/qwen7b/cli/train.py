"""`qwen7b train …`: from conversations or token shards to trained weights."""

from __future__ import annotations

import typer

from qwen7b.cli.examples import examples
from qwen7b.cli.train_labels import labels

train = typer.Typer(rich_markup_mode=None)
train.command(epilog=examples("labels"))(labels)


@train.callback(invoke_without_command=True)
def show_help(context: typer.Context) -> None:
    """Train a model."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
