"""`qwen7b perplexity`: the perplexity of texts, compared between weight formats, methods and lengths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options
from qwen7b.cli.measuring import (
    Methods,
    Plot,
    Precisions,
    Resume,
    TrainedLength,
    open_subject,
    parse_numbers,
    report,
)
from qwen7b.errors import SettingError

if TYPE_CHECKING:
    from qwen7b.evals import Perplexity

DEFAULT_LENGTH = 2048


def perplexity(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Texts in UTF-8.")],
    model: options.Model = "demo",
    length: Annotated[
        int | None, typer.Option("--length", metavar="N", help=f"Tokens a window.  [default: {DEFAULT_LENGTH}]")
    ] = None,
    lengths: Annotated[
        str | None, typer.Option("--lengths", metavar="LIST", help="Several lengths to compare: 1024,2048,4096.")
    ] = None,
    methods: Methods = "none",
    trained_length: TrainedLength = None,
    quantize: Precisions = "none",
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", min=1, help="Read only the first N tokens of a file.")
    ] = None,
    max_windows: Annotated[
        int | None,
        typer.Option("--max-windows", metavar="N", min=1, help="Read only the first N windows of the longest length."),
    ] = None,
    plot: Plot = None,
    resume: Resume = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Measure the perplexity of texts.

    A text is cut into windows of --length tokens that do not overlap, each read with an empty cache and the NTK alpha
    of the whole window; every token but a window's first is scored. All --lengths read the same part of a text: as
    many whole windows of the longest length as it has, or as --max-tokens and --max-windows allow. The rest of the
    text is not read.

    Every file is read in each weight format, with each method, at each length. The format "none" leaves the weights in
    --dtype. The method "none" treats all positions alike, whatever the checkpoint says of NTK, LogN and windows.
    """
    if length is not None and lengths is not None:
        raise SettingError("--length and --lengths both say how long a window is: drop one")
    window = DEFAULT_LENGTH if length is None else length
    window_lengths = [window] if lengths is None else parse_numbers("--lengths", lengths, minimum=2)
    from qwen7b.evals import measure_perplexity, plot_perplexity

    subject = open_subject(
        model,
        quantize=quantize,
        methods=methods,
        lengths=window_lengths,
        trained_length=trained_length,
        dtype=dtype,
        device=device,
        threads=threads,
        offline=offline,
        plot=plot,
    )
    results = report(
        measure_perplexity(subject, files, max_tokens=max_tokens, max_windows=max_windows, resume=resume),
        lambda result: (
            f"{result.file}  {result.precision}  {result.method}  length {result.length}: "
            f"perplexity {result.perplexity:.4f} over {result.tokens_scored:,} tokens in {result.seconds:.0f} s"
        ),
        as_json=as_json,
    )
    if not as_json and len(subject.lengths) > 1:
        show_tables(results)
    if plot is not None:
        plot_perplexity(results, plot)


def show_tables(results: list[Perplexity]) -> None:
    """Print a table like the original's for each file and format."""
    from qwen7b.evals import perplexity_table

    for file, precision in dict.fromkeys((result.file, result.precision) for result in results):
        chosen = [result for result in results if (result.file, result.precision) == (file, precision)]
        typer.echo(f"\n{file}, {precision}, trained length {chosen[0].trained_length:,}\n")
        typer.echo(perplexity_table(chosen))
