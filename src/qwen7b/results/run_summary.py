"""A run as a report shows it: its score, the parts of it with intervals, and what must be known beside them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qwen7b.results.pairing import have_samples
from qwen7b.results.published import Beside, beside
from qwen7b.results.saved_run import SavedRun
from qwen7b.system.progress import duration, shown_size
from qwen7b.tasks import TASKS, Procedure
from qwen7b.tasks.choice import ChoiceTask
from qwen7b.tasks.intervals import share_right

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A group of subjects, or a subject."""

    name: str
    items: int
    score: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """One run. `unit` is what scores are in: "%", or nothing for BLEU."""

    name: str
    title: str
    how: str
    score: float | None
    interval: Interval | None
    unit: str
    is_finished: bool
    items: int
    counts: tuple[tuple[str, int], ...]
    """What befell how many outputs."""
    more: tuple[tuple[str, float | None], ...]
    remark: str
    cost: str
    """Its time, tokens and memory, where they are known."""
    groups: tuple[Part, ...]
    subjects: tuple[Part, ...]
    signature: tuple[tuple[str, str], ...]
    published: Beside


def summarize_run(run: SavedRun) -> RunSummary:
    signature, summary, records = run.signature, run.summary, run.records
    task = TASKS.get(signature["task"])
    return RunSummary(
        name=visible(run.name),
        title=task.title if task else visible(signature["task"]),
        how=visible(
            f"{signature['procedure']}, {signature['split']}, {signature['shots']}-shot, "
            f"{'chat' if signature['chat'] else 'base'}, {signature['precision']}"
        ),
        score=summary.get("score"),
        interval=_interval(summary.get("interval")),
        unit="%" if any(record["correct"] is not None for record in records) else "",
        is_finished="score" in summary,
        items=len({(record["subject"], record.get("row")) for record in records}),
        counts=(
            ("right", sum(record["correct"] is True for record in records)),
            ("wrong", sum(record["correct"] is False for record in records)),
            ("without an answer", sum(not record["predicted"] for record in records)),
            ("guessed, as the reply names no answer", sum(record["guess"] for record in records)),
            ("decided by a tie", sum(record["tie"] for record in records)),
            ("with a prompt that was cut", sum(record["truncated"] for record in records)),
        ),
        more=tuple((visible(name), score) for name, score in (summary.get("more") or {}).items()),
        remark=visible(summary.get("remark") or ""),
        cost=_cost(summary.get("cost")),
        groups=tuple(_groups(run)),
        subjects=tuple(_subjects(run)),
        signature=tuple((name, _shown(value)) for name, value in signature.items()),
        published=beside(run),
    )


def _cost(cost: Any) -> str:
    if not isinstance(cost, Mapping) or not cost.get("tokens"):
        return ""
    return cost_text(cost["seconds"], cost["tokens"], cost["peak_memory_bytes"])


def cost_text(seconds: float, tokens: int, peak_memory_bytes: int) -> str:
    """
    >>> cost_text(600, 480_000, 1_200_000_000)
    '480,000 tokens in 10 min, 800 a second; at most 1,200.0 MB of memory'
    """
    return (
        f"{tokens:,} tokens in {duration(seconds)}, {tokens / seconds:,.0f} a second; at most "
        f"{shown_size(peak_memory_bytes)} of memory"
    )


def visible(text: Any) -> str:
    """A text with its control characters and those that change the direction of writing as their numbers.

    >>> visible("a\\x00b\\u202e")
    'a⟨U+0000⟩b⟨U+202E⟩'
    """
    return "".join(
        f"⟨U+{ord(character):04X}⟩"
        if unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\n\t"
        else character
        for character in str(text)
    )


def _interval(value: Any) -> Interval | None:
    return None if value is None else (value[0], value[1])


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return visible(", ".join(f"{name} {own}" for name, own in value.items() if own is not None))
    if isinstance(value, list):
        shown = ", ".join(map(str, value))
        return visible(shown if len(value) < 8 else f"{len(value)}: {shown}")
    return "—" if value is None else visible(value)


def _verdicts(run: SavedRun) -> dict[str, list[bool]]:
    """What is right of each subject, in alphabetical order, where that is known."""
    found: dict[str, list[bool]] = {}
    for record in run.records:
        if record["correct"] is not None:
            found.setdefault(record["subject"], []).append(record["correct"])
    return dict(sorted(found.items()))


def _subjects(run: SavedRun) -> list[Part]:
    parts = [_part(name, [verdicts]) for name, verdicts in _verdicts(run).items()]
    return [replace(part, interval=None) for part in parts] if have_samples(run.records) else parts


def _groups(run: SavedRun) -> list[Part]:
    """Groups of subjects as the task has them; of another task, those that its score has."""
    task, subjects = TASKS.get(run.signature["task"]), _verdicts(run)
    if not isinstance(task, ChoiceTask):
        scores = run.summary.get("groups") or {}
        return [
            Part(name=visible(name), items=0, score=score, interval=None)
            for name, score in scores.items()
            if name not in subjects
        ]
    is_mean = task.averages_subjects(Procedure(run.signature["procedure"]))
    members = {name: [subjects[subject] for subject in own if subject in subjects] for name, own in task.groups.items()}
    return [_part(name, own, is_mean=is_mean) for name, own in members.items() if own]


def _part(name: str, subjects: Sequence[Sequence[bool]], *, is_mean: bool = False) -> Part:
    score, interval = share_right(subjects, is_mean=is_mean)
    return Part(name=visible(name), items=sum(map(len, subjects)), score=score, interval=interval)
