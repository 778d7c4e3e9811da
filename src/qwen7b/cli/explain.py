"""`qwen7b eval explain`: what differs between two runs, and why."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qwen7b.cli import options
from qwen7b.cli.evaluate_results import shown
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.results.comparison import Comparison, ItemDifference
    from qwen7b.results.explanation import RunComparison, RunScore

RunPath = Annotated[
    Path, typer.Argument(help="A folder of results, one of its files TASK.jsonl, or lm-eval's samples_*.jsonl.")
]


def explain(
    first: RunPath,
    second: RunPath,
    near_tie: Annotated[
        float, typer.Option("--near-tie", metavar="NAT", min=0, help="Letters this close count as a near-tie.")
    ] = 0.05,
    as_json: options.Json = False,
) -> None:
    """Say what differs between two runs, and why.

    What the runs' signatures do not have in common is said in words; the items that both have are counted by who has
    them right, with McNemar's exact test; and each item that came out otherwise is listed with the reason. Either run
    may be lm-eval's, from a folder that `lm_eval --log_samples --output_path` wrote: its records are joined to ours by
    their prompts, or by the question's text where the prompts are worded otherwise.
    """
    from qwen7b.results import explain

    explanations = explain(first, second, near_tie=near_tie)
    if as_json:
        print_json([asdict(explanation) for explanation in explanations])
        return
    for explanation in explanations:
        typer.echo("\n".join(explanation_lines(explanation)))


def explanation_lines(explanation: RunComparison) -> list[str]:
    """An explanation as it is printed."""
    return [
        f"=== {explanation.task or 'lm-eval'}",
        *(
            f"{which}: {_run_line(run)}"
            for which, run in (("first", explanation.first), ("second", explanation.second))
        ),
        "",
        "What differs in how they were made:",
        *_difference_lines(explanation),
        "",
        *_comparison_lines(explanation.comparison),
        *(f"  {_item_line(item)}" for item in explanation.comparison.differing),
        "",
    ]


def _run_line(run: RunScore) -> str:
    score = "no score" if run.score is None else shown(run.score, run.interval)
    return f"{run.name}, {run.procedure}, {run.items:,} items: {score}"


def _difference_lines(explanation: RunComparison) -> list[str]:
    lines = []
    for difference in explanation.differences:
        values = f"  {difference.field}: {_shown(difference.first)} and {_shown(difference.second)}"
        if difference.field == "subjects":
            values = "  subjects:"
        lines += [values, *(f"    {meaning}" for meaning in difference.meanings)]
    lines += [f"  {note}" for note in explanation.notes]
    if explanation.unknown:
        lines.append(f"  Only one of them states: {', '.join(explanation.unknown)}.")
    return lines or ["  nothing that the signatures state"]


def _comparison_lines(comparison: Comparison) -> list[str]:
    lines = [
        f"Items in both: {comparison.items:,}; only in the first: {comparison.only_first:,}; only in the second: "
        f"{comparison.only_second:,}."
    ]
    if comparison.first is not None and comparison.second is not None:
        for which, share in (("first", comparison.first), ("second", comparison.second)):
            line = f"  {which:<6} has {share.correct:,} of {comparison.judged:,} right: {share.score:.2f} %"
            if share.interval is not None:
                line += f" (95 %: {share.interval[0]:.2f} to {share.interval[1]:.2f})"
            lines.append(line)
        lines += [
            "  Several outputs for one question are not independent: no test is made."
            if comparison.mcnemar_p is None
            else f"  McNemar's exact test: p = {comparison.mcnemar_p:.4g}",
            f"  {'':<14} {'second right':>12} {'second wrong':>12}",
            f"  {'first right':<14} {comparison.right_right:>12,} {comparison.right_wrong:>12,}",
            f"  {'first wrong':<14} {comparison.wrong_right:>12,} {comparison.wrong_wrong:>12,}",
        ]
    lines.append("")
    if not comparison.differing:
        return [*lines, "No item came out otherwise."]
    counts = ", ".join(f"{kind} {count:,}" for kind, count in comparison.reasons.items())
    return [
        *lines,
        f"Items that came out otherwise: {len(comparison.differing):,}, by their first reason: {counts}.",
    ]


def _item_line(item: ItemDifference) -> str:
    verdicts = {True: "right", False: "wrong", None: ""}
    answers = [
        f"{answer[:_SHOWN]!r} {verdicts[correct]}".strip()
        for answer, correct in ((item.first, item.first_correct), (item.second, item.second_correct))
    ]
    return f"{item.id}: {answers[0]}, {answers[1]}; {'; '.join(reason.words for reason in item.reasons)}"


_SHOWN = 24
"""How many characters of an answer stand in a line."""


def _shown(value: Any) -> str:
    return f"{value}" if len(str(value)) < 60 else f"{str(value)[:57]}…"
