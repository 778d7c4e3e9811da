"""What `qwen7b eval` prints of a task: its prompts, its score, and where the report of it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qwen7b.errors import counted
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.evals import Evaluation
    from qwen7b.tasks import Item

_BETWEEN = "\n---\n"
"""What parts the messages of a chat."""


def print_prompts(items: Sequence[Item], *, as_json: bool) -> None:
    """Print what the model would be asked, and the right answers."""
    if as_json:
        print_json(
            [
                {"id": item.id, "subject": item.subject, "row": item.row, **item.asked, "answer": item.answer}
                for item in items
            ]
        )
        return
    for item in items:
        said = [message["content"] for message in item.messages]
        tools = f"\n=== tools: {item.tools}" if item.tools else ""
        typer.echo(f"=== {item.id}\n{_BETWEEN.join(said)}{tools}\n=== answer: {item.answer or 'not public'}\n")


def print_score(result: Evaluation, *, out: Path | None) -> None:
    """Print the score, those of its groups, and what must be known beside them."""
    from qwen7b.results.run_summary import cost_text
    from qwen7b.tasks import TASKS

    signed = result.signature
    how = f"{result.procedure}, {result.split}, {signed['shots']}-shot, {'chat' if result.chat else 'base'}"
    typer.echo(f"{TASKS[result.task].title} ({how}, {signed['precision']}): {shown(result.score, result.interval)}")
    for name, score in {**result.more, **result.groups}.items():
        typer.echo(f"  {name:<40} {'-' if score is None else f'{score:6.2f}'}")
    notes = [counted(result.items, "item")]
    if result.abstained:
        notes.append(f"{result.abstained} without an answer")
    if result.ties:
        notes.append(f"{result.ties} decided by a tie")
    if result.truncated:
        notes.append(f"{result.truncated} with a prompt that was cut, as it was too long")
    typer.echo(", ".join(notes) + ".")
    cost = result.cost
    if cost.tokens:
        typer.echo(f"{cost_text(**asdict(cost))}.")
    if result.remark:
        typer.echo(result.remark)
    if out is not None:
        typer.echo(f"Every answer is in {out / result.task}.jsonl.")


def shown(score: float | None, interval: tuple[float, float] | None) -> str:
    """
    >>> shown(56.7, (55.1, 58.2))
    '56.70 (95 %: 55.10 to 58.20)'
    """
    if score is None:
        return "no score, as the answers are not public"
    return f"{score:.2f}" + ("" if interval is None else f" (95 %: {interval[0]:.2f} to {interval[1]:.2f})")


def report_on(out: Path, *, as_json: bool) -> None:
    """Write the report of all results in a folder, and say so unless only JSON is wanted."""
    from qwen7b.results import write_report

    paths = write_report([out], out)
    if not as_json:
        typer.echo(f"The report of {out} is in {' and '.join(path.name for path in paths)} there.")
