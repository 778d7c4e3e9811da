"""`qwen7b eval plugin`, `bfcl`, `hf-agent`: whether a model calls the right tools, and only where it has to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from qwen7b.cli.evaluate_code import AllowCode, Unprotected
from qwen7b.cli.evaluate_tasks import Chosen, run_named, run_task
from qwen7b.cli.measuring import parse_names
from qwen7b.cli.tool_options import DialectName
from qwen7b.errors import SettingError

WriteData = Annotated[
    Path | None,
    typer.Option("--write-data", metavar="DIR", help="Write two sets of 150 questions of our own there, and stop."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="With --write-data: other questions: 0.")]
Prompt = Annotated[
    Path | None,
    typer.Option("--prompt", metavar="FILE", help="Another prompt, with <<all_tools>> and <<prompt>> in it."),
]
Categories = Annotated[
    str | None,
    typer.Option(
        "--categories", metavar="LIST", help="Only these: simple,live_simple; by default all that are not live."
    ),
]
Unconstrained = Annotated[
    bool, typer.Option("--unconstrained", help="Let calls be written freely, not held to names and schemas by masks.")
]


def plugin(chosen: Chosen, write_data: WriteData = None, seed: Seed = None) -> None:
    """Choose tools by ReAct prompts: the original's plugins.

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


def bfcl(
    chosen: Chosen, categories: Categories = None, dialect: DialectName = None, unconstrained: Unconstrained = False
) -> None:
    """Call functions: the Berkeley Function Calling Leaderboard.

    It asks in a single turn (version 4, Python).

    The folder has the package bfcl-eval, whose data and checker are used and which is installed there by
    `pip install --no-deps --target DIR bfcl-eval==2026.3.23`. Categories are simple, multiple (choose one of several
    functions), parallel (several calls), parallel_multiple and irrelevance (none fits); and those of real users: the
    same with live_ before them, and live_relevance. The score is the share of right replies, also by category.

    Calls are held to functions' names and schemas by masks, which needs the extra tools, unless --unconstrained.
    """
    from qwen7b.dialects.registry import find_dialect
    from qwen7b.tasks.bfcl import Bfcl

    if categories is not None:
        chosen = replace(chosen, plan=replace(chosen.plan, subjects=tuple(parse_names("--categories", categories))))
    name = None if dialect is None else find_dialect(dialect).name
    run_task(Bfcl(dialect=name, is_constrained=not unconstrained), chosen)


def hf_agent(
    chosen: Chosen, prompt: Prompt = None, allow_code: AllowCode = False, unprotected: Unprotected = False
) -> None:
    """Solve tasks by code that calls tools, as Hugging Face's agents.

    That is the run mode of those of 2023.

    The score is that of the code, from 0.3 to 1: 1 for the right result, 0.75 where it is among several. Beside it
    stand the tools that the model says it will use and those that its code uses, a quarter less for each that is
    missing or too many. Tasks, tools and prompt are our own, which come with qwen7b; --data names a folder with others
    (tasks.json, prompt.txt). By the original's procedures it is asked in a chat, and a reply may go on after its code.

    The code is not run as Python, but evaluated as transformers 4.31 does: there are calls of tools, lists, f-strings,
    if and for. That happens in the sandbox too, and only with --allow-code.
    """
    from qwen7b.tasks.hf_agent import OWN_FOLDER, HfAgent

    chosen = replace(chosen, data=chosen.data or OWN_FOLDER, allow_code=allow_code, allow_unprotected=unprotected)
    run_task(HfAgent(prompt), chosen)
