"""`qwen7b vocab …`: vocabularies measured and extended."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options
from qwen7b.cli.examples import examples
from qwen7b.cli.vocab_extend import extend
from qwen7b.cli.vocab_train import train_vocab
from qwen7b.errors import SettingError, counted
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.text import Tokenizer

vocab = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Measure vocabularies, extend them, and train new ones."
)
vocab.command(epilog=examples("extend"))(extend)
vocab.command("train", epilog=examples("vocab train"))(train_vocab)


@vocab.command(epilog=examples("measure"))
def measure(
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXTS…", help="A file is a language; in a folder each entry is one; NAME=PATH names one."
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            help="A vocabulary: a model's name, folder or file, or a tokenizer file; repeatable; NAME=… names it.",
        ),
    ] = ["demo"],  # noqa: B006
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="NAME", help="The vocabulary to compare with; by default the first."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the results: a .png, .svg or .pdf; needs the extra train."),
    ] = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Measure how well vocabularies compress texts, by language.

    Shown are bytes a token, where more is better, and tokens relative to those of the baseline, where less is better.
    """
    from qwen7b.system.figure import check_plot
    from qwen7b.vocab import compression_table, find_groups, measure_compression, plot_compression

    if plot is not None:
        check_plot(plot, extra="train")
    groups = find_groups(texts)
    results = measure_compression(groups, load_vocabularies(model, offline=offline), baseline=baseline)
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        typer.echo(compression_table(results))
        for result in results:
            if result.changed_texts:
                typer.echo(
                    f"{result.language}: {counted(result.changed_texts, 'text')} of {result.texts} cannot be written "
                    f"by {result.vocabulary}, which has no token for some of their bytes."
                )
    if plot is not None:
        plot_compression(results, plot)


def load_vocabularies(models: list[str], *, offline: bool) -> dict[str, Tokenizer]:
    """The tokenizers by the names that they are called in results; a path is called by its last part."""
    from qwen7b import load_tokenizer

    tokenizers: dict[str, Tokenizer] = {}
    for model in models:
        name, equals, path = model.partition("=")
        if not equals or Path(model).expanduser().exists():
            name, path = Path(model).name, model
        if name in tokenizers:
            raise SettingError(f"two vocabularies are called {name!r}: name one by --model NAME={path}")
        tokenizers[name] = load_tokenizer(path, offline=offline or None)
    return tokenizers
