"""`qwen7b train …`: from conversations or token shards to trained weights."""

from __future__ import annotations

import typer

from qwen7b.cli.examples import examples
from qwen7b.cli.train_dpo import dpo
from qwen7b.cli.train_labels import labels
from qwen7b.cli.train_pretrain import pretrain, recipe, report
from qwen7b.cli.train_sft import merge, sft

train = typer.Typer(rich_markup_mode=None)
train.command(epilog=examples("labels"))(labels)
train.command(epilog=examples("sft"))(sft)
train.command(epilog=examples("dpo"))(dpo)
train.command(epilog=examples("merge"))(merge)
train.command(epilog=examples("pretrain"))(pretrain)
train.command(epilog=examples("recipe"))(recipe)
train.command(epilog=examples("train report"))(report)


@train.callback(invoke_without_command=True)
def show_help(context: typer.Context) -> None:
    """Train a model."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
