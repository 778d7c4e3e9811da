"""Why two runs answered an item otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from qwen7b.results.pairing import Record
from qwen7b.results.saved_run import asked_text

NEAR_TIE = 0.05
"""Two letters whose log-probabilities are closer than this, in nats, are a near-tie: another order of summation, or
another rounding, may turn them round."""
_SHOWN = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """`kind` is one of a few words to count by, and `words` say what is so of this item."""

    kind: str
    words: str


def reasons(first: Record, second: Record, *, near_tie: float = NEAR_TIE) -> list[Reason]:
    """Why these records of one item differ, what explains it best first."""
    return list(_reasons(first, second, near_tie=near_tie))


def _reasons(first: Record, second: Record, *, near_tie: float) -> Iterator[Reason]:
    both = (("first", first), ("second", second))
    has_letters = ["logprobs" in record for _, record in both]
    outputs = first.get("output"), second.get("output")
    if first["predicted"] == second["predicted"] and first["answer"] != second["answer"]:
        yield Reason(kind="answer", words="what is right is not the same in the two runs' data")
    if not any(has_letters) and outputs[0] == outputs[1]:
        yield Reason(
            kind="read otherwise",
            words=f"the same output is read as {first['predicted']!r:.80} and as {second['predicted']!r:.80}",
        )
        return
    for whose, record in both:
        if record["tie"] and likeliest_letter(record) != record["predicted"]:
            yield Reason(
                kind="tie",
                words=f"rounding made letters of the {whose} equal, and the first of them, {record['predicted']}, "
                f"counts: without it, it is {likeliest_letter(record)}",
            )
    cut = [whose for whose, record in both if record["truncated"]]
    if len(cut) == 1 or (cut and first.get("prompt_tokens") != second.get("prompt_tokens")):
        yield Reason(kind="cut", words=f"the beginning of the prompt was cut off in the {' and the '.join(cut)}")
    if has_letters[0] != has_letters[1]:
        yield Reason(
            kind="asked otherwise",
            words=f"the {'first' if has_letters[0] else 'second'} took the likeliest letter, the other a reply's",
        )
    if first["prompt_hash"] != second["prompt_hash"]:
        yield Reason(kind="prompt", words=f"the prompts differ {from_where(asked_text(first), asked_text(second))}")
    if all(has_letters):
        yield from _letter_reasons(first, second, near_tie=near_tie)
    elif outputs[0] is not None and outputs[1] is not None:
        yield Reason(kind="output", words=f"the outputs differ {from_where(outputs[0], outputs[1])}")


def _letter_reasons(first: Record, second: Record, *, near_tie: float) -> Iterator[Reason]:
    margins = [math.inf if record.get("margin") is None else record["margin"] for record in (first, second)]
    shown = f"{margins[0]:.3f} and {margins[1]:.3f} nat"
    if min(margins) < near_tie:
        yield Reason(kind="near-tie", words=f"a near-tie: the likeliest letter is ahead by {shown}")
    else:
        yield Reason(
            kind="probabilities", words=f"the model gives other probabilities: the letters are ahead by {shown}"
        )


def likeliest_letter(record: Record) -> str:
    """The letter with the highest log-probability, whatever rounding made of it."""
    logprobs = record["logprobs"]
    return "ABCDEFGHIJ"[logprobs.index(max(logprobs))]


def first_difference(first: str, second: str) -> int:
    """The place of the first character that two texts do not share, from 0.

    >>> first_difference("one two", "one ten")
    5
    """
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def from_where(first: str, second: str) -> str:
    """
    >>> from_where("The answer is 8", "The answer is 9")
    "from character 15: '8' and '9'"
    """
    place = first_difference(first, second)
    return f"from character {place + 1:,}: {first[place:][:_SHOWN]!r} and {second[place:][:_SHOWN]!r}"
