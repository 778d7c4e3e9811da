"""Why two runs have the scores they have: what differs in how they were made, and item by item in what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen7b.errors import SettingError, counted
from qwen7b.results.comparison import Comparison, compare, share_of
from qwen7b.results.lm_eval_samples import read_samples, sample_files
from qwen7b.results.pairing import Pair, paired
from qwen7b.results.reasons import NEAR_TIE, from_where
from qwen7b.results.saved_run import SavedRun, asked_text, own_files, read_runs
from qwen7b.results.signature_words import Difference, differences, unknown_fields, wanted
from qwen7b.tasks.item import Letters


@dataclass(frozen=True, kw_only=True, slots=True)
class RunScore:
    """A run's own score, over all its items."""

    name: str
    procedure: str
    items: int
    score: float | None
    """The share of lm-eval's samples that it counts as right; None where the run is not finished, or none is known."""
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunComparison:
    """One task of two runs."""

    task: str
    first: RunScore
    second: RunScore
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    """What differs in the runs' prompts, shown by an item."""
    unknown: tuple[str, ...]
    """Fields that only one of the runs states."""
    comparison: Comparison


def explain(first: Path, second: Path, *, near_tie: float = NEAR_TIE) -> list[RunComparison]:
    """Compare the runs in two folders or files, task by task; either may be lm-eval's samples.

    Raises SettingError where there is nothing to compare.
    """
    runs = [_read(path) for path in (first, second)]
    pairs = [
        (one, other)
        for task, one in runs[0].items()
        for other_task, other in runs[1].items()
        if task == other_task or not (one.is_ours and other.is_ours)
    ]
    explanations = [_explanation(one, other, near_tie=near_tie) for one, other in pairs]
    explanations = [explanation for explanation in explanations if explanation.comparison.items]
    if not explanations:
        found = [" and ".join(map(_held, own.values())) for own in runs]
        raise SettingError(
            f"{first} and {second} have no item in common, found {found[0]}, and {found[1]}: compare two runs on the "
            "same questions"
        )
    return explanations


def _held(run: SavedRun) -> str:
    """What a run has: items, and of which subjects they are."""
    subjects = ", ".join(dict.fromkeys(record["subject"] for record in run.records))
    items = counted(len(run.records), "item")
    return f"{items} of {run.signature['task'] or 'lm-eval'}{f' ({subjects:.60})' if subjects else ''}"


def _read(path: Path) -> dict[str, SavedRun]:
    is_ours = path.is_dir() and bool(own_files(path))  # with lm-eval's output in a folder of it, perhaps
    if not is_ours and (files := sample_files(path)):
        return {"lm-eval": read_samples(files, name=str(path))}
    return read_runs(path)


def _explanation(first: SavedRun, second: SavedRun, *, near_tie: float) -> RunComparison:
    pairs = paired(first, second)
    return RunComparison(
        task=first.signature["task"] or second.signature["task"],
        first=_score(first),
        second=_score(second),
        differences=tuple(differences(first, second)),
        notes=tuple(_prompt_notes(first, second, pairs)),
        unknown=tuple(unknown_fields(first, second)),
        comparison=compare(first, second, near_tie=near_tie, pairs=pairs),
    )


def _score(run: SavedRun) -> RunScore:
    score, interval = run.summary.get("score"), run.summary.get("interval")
    if not run.is_ours and (share := share_of(run.records)):
        score, interval = share.score, share.interval
    return RunScore(
        name=run.name,
        procedure=run.signature.get("procedure", ""),
        items=len(run.records),
        score=score,
        interval=None if interval is None else (interval[0], interval[1]),
    )


def _prompt_notes(first: SavedRun, second: SavedRun, pairs: Sequence[Pair]) -> list[str]:
    """What the first shared item with another prompt shows, and which letters lm-eval asked for."""
    notes = []
    others = [(one, other) for one, other in pairs if one["prompt_hash"] != other["prompt_hash"]]
    if others:
        one, other = others[0]
        notes.append(
            f"{len(others):,} of {len(pairs):,} shared items have other prompts: that of {one['id']} differs "
            f"{from_where(asked_text(one), asked_text(other))}"
        )
    elif pairs:
        notes.append(f"all {len(pairs):,} shared items have the same prompts")
    texts = [_letter_text(run, pair[place]) for place, run in enumerate((first, second)) for pair in pairs[:1]]
    if len(set(texts)) == 2 and None not in texts and not (first.is_ours and second.is_ours):
        notes.append(f"the letters are asked for as {texts[0]!r} and as {texts[1]!r}")
    return notes


def _letter_text(run: SavedRun, record: Mapping[str, Any]) -> str | None:
    """What stands for A after the prompt."""
    if not run.is_ours:
        return record["choice_texts"][0] if "choice_texts" in record else None
    asked = wanted(run.signature)
    return asked.texts[0] if isinstance(asked, Letters) else None
