"""`qwen7b eval plugin`: whether a model calls the right tools, with the right arguments, and only where it has to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qwen7b.cli.evaluate_tasks import Chosen, run_named
from qwen7b.errors import SettingError

WriteData = Annotated[
    Path | None,
    typer.Option("--write-data", metavar="DIR", help="Write two sets of 150 questions of our own there, and stop."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="With --write-data: other questions: 0.")]


def plugin(chosen: Chosen, write_data: WriteData = None, seed: Seed = None) -> None:
    """Choose among tools by ReAct prompts, as the original's benchmark of plugins does.

    The folder has positive.jsonl, questions that need a tool, and negative.jsonl, which need none; --write-data makes
    them. With --split v1 or v20231206 it has the original's files. The score is the share of replies that call the
    right tool; beside it stand how alike the arguments are (ROUGE-L, from 0 to 1) and the share of calls where none is
    needed. It is always asked in a chat, greedily. By the original's procedures replies go on after a call, and
    "Action:" counts as a call anywhere (2023-08) or at a line's beginning (2023-12); by the standard procedure a reply
    ends before "Observation:". Needs the extra tools.
    """
    if write_data is None:
        if seed is not None:
            raise SettingError("--seed chooses the questions that --write-data DIR writes: give that too")
        run_named("plugin", chosen)
        return
    from qwen7b.evals import write_plugin_sets

    for path in write_plugin_sets(write_data, seed=seed or 0):
        typer.echo(str(path))
