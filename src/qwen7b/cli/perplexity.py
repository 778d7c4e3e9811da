"""`qwen7b perplexity`: how surprised a model is by texts, and what a weight format adds to that."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from qwen7b.cli import options
from qwen7b.errors import SettingError

PRECISIONS = ("none", "q8", "q4", "nf4")


def perplexity(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Texts in UTF-8.")],
    model: options.Model = "demo",
    length: Annotated[int, typer.Option("--length", metavar="N", help="Tokens a window.")] = 2048,
    quantize: Annotated[
        str, typer.Option("--quantize", metavar="LIST", help=f"Weight formats to compare: {','.join(PRECISIONS)}.")
    ] = "none",
    max_windows: Annotated[
        int | None, typer.Option("--max-windows", metavar="N", min=1, help="Read only the first N windows of a file.")
    ] = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Measure the perplexity of texts.

    A text is cut into windows of --length tokens that do not overlap, each read with an empty cache; every token but a
    window's first is scored, and what is left behind the last whole window is not read. With several weight formats
    every file is read once in each; "none" leaves the weights in --dtype.
    """
    precisions = quantize.split(",")
    if unknown := [name for name in precisions if name not in PRECISIONS]:
        raise SettingError(f"--quantize takes some of {','.join(PRECISIONS)} with commas between, found {unknown[0]!r}")
    loading = options.Loading(model=model, device=device, dtype=dtype, threads=threads, offline=offline)
    loading.set_threads()
    from qwen7b.evals import measure_perplexity

    results = []
    for result in measure_perplexity(
        model,
        files,
        precisions=precisions,
        length=length,
        max_windows=max_windows,
        dtype=None if dtype is None else dtype.value,
        device=device,
        offline=offline or None,
    ):
        results.append(asdict(result))
        if not as_json:
            typer.echo(
                f"{result.file}  {result.precision}  length {result.length}: perplexity {result.perplexity:.4f} "
                f"over {result.tokens_scored:,} tokens in {result.seconds:.0f} s"
            )
    if as_json:
        typer.echo(json.dumps(results, ensure_ascii=False))
