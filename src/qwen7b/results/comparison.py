"""Two runs on the same items: who has what right, how likely that is by chance, and each item where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from qwen7b.results.pairing import Pair, Record, have_samples, paired
from qwen7b.results.reasons import NEAR_TIE, Reason, reasons
from qwen7b.results.saved_run import SavedRun
from qwen7b.tasks.intervals import mcnemar_p, share_right


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemDifference:
    """An item that two runs answered otherwise. What is right of it may be unknown."""

    id: str
    other_id: str
    """What the second run calls it."""
    answer: str
    first: str
    """What the first run answers."""
    second: str
    first_correct: bool | None
    second_correct: bool | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """How many of a run's items are right, and their share in percent."""

    correct: int
    score: float
    interval: tuple[float, float] | None
    """None where a question has several outputs, which are right or wrong together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """`judged` is how many of the items that both runs have are right or wrong in both; the table counts those."""

    items: int
    only_first: int
    """How many items the second run does not have."""
    only_second: int
    judged: int
    right_right: int
    right_wrong: int
    wrong_right: int
    wrong_wrong: int
    first: Share | None
    second: Share | None
    mcnemar_p: float | None
    """None where there is nothing to test, or where a question has several outputs."""
    reasons: dict[str, int]
    """How many items differ for which first reason."""
    differing: tuple[ItemDifference, ...]


def compare(
    first: SavedRun, second: SavedRun, *, near_tie: float = NEAR_TIE, pairs: Sequence[Pair] | None = None
) -> Comparison:
    """Compare two runs item by item. Letters closer than `near_tie`, in nats, count as a near-tie.

    `pairs` is what `paired` finds, where that is known.
    """
    pairs = paired(first, second) if pairs is None else pairs
    judged = [(one, other) for one, other in pairs if one["correct"] is not None and other["correct"] is not None]
    is_sampled = have_samples(record for pair in judged for record in pair)
    table = Counter((bool(one["correct"]), bool(other["correct"])) for one, other in judged)
    differing = [
        _difference(pair, near_tie=near_tie)
        for pair in pairs
        if _differ(*pair, is_one_program=first.is_ours == second.is_ours)
    ]
    return Comparison(
        items=len(pairs),
        only_first=len(first.records) - len(pairs),
        only_second=len(second.records) - len(pairs),
        judged=len(judged),
        right_right=table[True, True],
        right_wrong=table[True, False],
        wrong_right=table[False, True],
        wrong_wrong=table[False, False],
        first=share_of([one for one, _ in judged]),
        second=share_of([other for _, other in judged]),
        mcnemar_p=mcnemar_p(table[True, False], table[False, True]) if judged and not is_sampled else None,
        reasons=dict(Counter(item.reasons[0].kind for item in differing).most_common()),
        differing=tuple(differing),
    )


def share_of(records: Sequence[Record]) -> Share | None:
    """The share of those known to be right or wrong; None where there are none."""
    known = [record["correct"] for record in records if record["correct"] is not None]
    if not known:
        return None
    score, interval = share_right([known], is_mean=False)
    return Share(correct=sum(known), score=score, interval=None if have_samples(records) else interval)


def _differ(first: Record, second: Record, *, is_one_program: bool) -> bool:
    """Whether two records of an item differ. Programs spell what they read out of a text each in its way."""
    has_texts = "output" in first and "output" in second
    if first["correct"] != second["correct"] or (has_texts and first["output"] != second["output"]):
        return True
    return first["predicted"] != second["predicted"] and (is_one_program or not has_texts)


def _difference(pair: Pair, *, near_tie: float) -> ItemDifference:
    first, second = pair
    return ItemDifference(
        id=first["id"],
        other_id=second["id"],
        answer=first["answer"],
        first=first["predicted"],
        second=second["predicted"],
        first_correct=first["correct"],
        second_correct=second["correct"],
        reasons=tuple(reasons(first, second, near_tie=near_tie)),
    )
