"""`qwen7b eval report`: a report of runs, as Markdown and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwen7b.cli import options
from qwen7b.errors import SettingError
from qwen7b.terminal.streams import print_json


def report_runs(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders of results.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to write it; by default the one folder of results."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a report of runs, as text and as a page.

    That is report.md, and report.html, which needs nothing but itself. They have the scores with their intervals, those
    of groups and subjects, the signatures, the published scores that a run may stand beside and the others with why it
    may not; and the page has all items, to search and filter. A run with --out writes that of its folder by itself.
    """
    if out is None and len(folders) > 1:
        raise SettingError(f"the report of {len(folders)} folders needs a place: name it by --out")
    from qwen7b.results import write_report

    paths = write_report(folders, out or folders[0])
    if as_json:
        print_json([str(path) for path in paths])
    else:
        typer.echo("\n".join(map(str, paths)))
