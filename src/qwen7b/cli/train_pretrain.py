"""`qwen7b train pretrain`, `recipe` and `report`: a new model from a recipe, and how its run went."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qwen7b.cli import options, tuning_options
from qwen7b.errors import SettingError
from qwen7b.system.progress import is_first_rank
from qwen7b.terminal.streams import print_json


class Preset(StrEnum):
    """The recipes to start from."""

    memo = "memo"
    report = "report"
    tiny = "tiny"


def pretrain(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A TOML file: see qwen7b train recipe.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder of the run; one that is there goes on.")
    ],
    device: Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1 or mps.")] = "cpu",
    shards: tuning_options.Shards = None,
    rank_timeout: tuning_options.RankTimeout = 600.0,
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Train a new model by a recipe.

    A run that was stopped goes on by the same command, to the same bits as if it had never been stopped. Each saved
    step is a folder that qwen7b loads. Progress is on standard error, and in the run's log.jsonl. torchrun starts the
    same command many times, to train one model together, and goes on with any number of processes.
    """
    options.set_threads(threads)
    from qwen7b.train.mesh_settings import MeshSettings
    from qwen7b.train.pretraining import pretrain as run_recipe
    from qwen7b.train.report import read_run

    last = run_recipe(recipe, out, device=device, mesh=MeshSettings(shards=shards, timeout=rank_timeout))
    if not is_first_rank():
        return
    if as_json:
        history = read_run(out)
        print_json({"model": str(last), **{**history.steps[-1], **(history.looks[-1] if history.looks else {})}})
    else:
        typer.echo(f'The model is in {last}: qwen7b complete --model {last} "…"')


def recipe(
    preset: Annotated[
        Preset, typer.Argument(metavar="PRESET", help="memo and report: Qwen-7B's own; tiny: 5M weights.")
    ],
) -> None:
    """Print a recipe to start from.

    Every setting is explained. memo and report are what Qwen's two documents say of Qwen-7B, which disagree.
    """
    from qwen7b.train.presets import PRESETS
    from qwen7b.train.recipe_file import recipe_text

    typer.echo(recipe_text(PRESETS[preset.value]), nl=False)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, finished or not.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page to write; by default report.html in RUN.")
    ] = None,
    points: Annotated[
        int,
        typer.Option(
            "--compressors",
            metavar="N",
            min=0,
            help="Steps at which gzip, bz2, xz and ppmd are given what the run had read; 0 leaves them out.",
        ),
    ] = 4,
    as_json: options.Json = False,
) -> None:
    """Write a page on how a run goes.

    It has the loss, bits per byte beside those of compressors that were given the same past, gradient norms, and
    samples by step. The recipe's data must be where they were for the compressors.
    """
    from qwen7b.train.report import read_run, spread, write_run_report

    history = read_run(run)
    looked = [entry["step"] for entry in history.looks if "bits_per_byte" in entry]
    compressed = {}
    if looked and points:
        from qwen7b.train.pretraining import compressed_after

        compressed = dict(compressed_after(run, spread(looked, points)))
    target = out or run / "report.html"
    if target.is_dir():
        raise SettingError(f"--out {target} is a folder: name a file in it")
    write_run_report(history, target, compressed=compressed)
    if as_json:
        bits = {entry["step"]: entry["bits_per_byte"] for entry in history.looks if "bits_per_byte" in entry}
        print_json({"report": str(target), "bits_per_byte": bits, "compressors": compressed})
    else:
        typer.echo(str(target))
