"""Which records of two runs are of the same item."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeAlias

from qwen7b.results.saved_run import SavedRun

Record: TypeAlias = Mapping[str, Any]
Pair: TypeAlias = tuple[Record, Record]

_LABELS = ("Question: ", "问题：", "A. ", "B. ", "C. ", "D. ")
"""What procedures write before a line of the question."""


def paired(first: SavedRun, second: SavedRun) -> list[Pair]:
    """The pairs of records, those of one run and the other, in the order of the first's items.

    Two runs of qwen7b are joined on the question as it stands in the file. lm-eval's records are joined on the prompt;
    and where the procedures word it otherwise, each is joined to the item whose prompt has its question and options.
    """
    if first.is_ours and second.is_ours:
        pairs, _ = _joined(first.records, second.records, lambda record: (record["question_hash"], _sample(record)))
    else:
        pairs, (left, right) = _joined(first.records, second.records, lambda record: record["prompt_hash"])
        if first.is_ours != second.is_ours:
            ours, theirs = (left, right) if first.is_ours else (right, left)
            found = _joined_by_text(ours, theirs)
            pairs += found if first.is_ours else [(their, our) for our, their in found]
    places = {record["id"]: place for place, record in enumerate(sorted(first.records, key=_place))}
    return sorted(pairs, key=lambda pair: places[pair[0]["id"]])


def have_samples(records: Iterable[Record]) -> bool:
    """Whether records are of several outputs for a question, which are right or wrong together."""
    return any(map(_sample, records))


def _sample(record: Record) -> str:
    """Which of several outputs for one question a record is of; empty where there is one."""
    return str(record["id"]).partition("#")[2]


def _place(record: Record) -> tuple[str, int, str]:
    return record["subject"], record.get("row", 0), record["id"]


def _joined(
    first: Iterable[Record], second: Iterable[Record], key: Callable[[Record], Hashable]
) -> tuple[list[Pair], tuple[list[Record], list[Record]]]:
    """The pairs with the same key, each record in one at most; and those that are left."""
    waiting: dict[Hashable, list[Record]] = {}
    for record in second:
        waiting.setdefault(key(record), []).append(record)
    pairs, left = [], []
    for record in first:
        if matches := waiting.get(key(record)):
            pairs.append((record, matches.pop(0)))
        else:
            left.append(record)
    return pairs, (left, [record for records in waiting.values() for record in records])


def _joined_by_text(ours: Iterable[Record], theirs: Iterable[Record]) -> list[Pair]:
    """The pairs where our prompt has all lines of their question and options."""
    by_line: dict[str, dict[str, Record]] = {}
    for record in ours:
        for line in record["prompt"].splitlines():
            by_line.setdefault(_bare(line), {})[record["id"]] = record
    pairs: list[Pair] = []
    taken: set[str] = set()
    for record in theirs:
        lines = {_bare(line) for text in (record["question"], *record["options"]) for line in text.splitlines()} - {""}
        if not record["question"].strip():
            continue
        holders = sorted((by_line.get(line, {}) for line in lines), key=len)
        found = (name for name in holders[0] if name not in taken and all(name in held for held in holders[1:]))
        if match := next(found, None):
            taken.add(match)
            pairs.append((holders[0][match], record))
    return pairs


def _bare(line: str) -> str:
    line = line.strip()
    for label in _LABELS:
        line = line.removeprefix(label)
    return line.strip()
