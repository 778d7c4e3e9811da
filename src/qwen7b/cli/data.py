"""`qwen7b data …`: raw text becomes clean documents and token shards."""

from __future__ import annotations

import typer

from qwen7b.cli.data_clean import clean
from qwen7b.cli.data_dedup import dedup
from qwen7b.cli.data_tokenize import tokenize_data
from qwen7b.cli.examples import examples

data = typer.Typer(rich_markup_mode=None, no_args_is_help=False)
for verb in (clean, dedup):
    data.command(epilog=examples(verb.__name__))(verb)
data.command("tokenize", epilog=examples("data tokenize"))(tokenize_data)


@data.callback(invoke_without_command=True)
def help_without_verb(context: typer.Context) -> None:
    """Make training data: clean, deduplicate and tokenize text."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
