"""A run's items as data within a page: short enough for a benchmark of 14,000 items, and harmless whatever they say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qwen7b.results.reasons import first_difference
from qwen7b.results.saved_run import SavedRun, asked_text

_FLAGS = (("truncated", "cut"), ("tie", "tie"), ("guess", "guess"))


def item_data(run: SavedRun) -> dict[str, Any]:
    """The items, in the order of subjects and rows. What all prompts of a subject begin with is stored once."""
    records = sorted(run.records, key=lambda record: (record["subject"], record.get("row", 0)))
    by_subject: dict[str, list[str]] = {}
    for record in records:
        by_subject.setdefault(record["subject"], []).append(asked_text(record))
    beginnings = {subject: _beginning(prompts) for subject, prompts in by_subject.items()}
    places = {subject: place for place, subject in enumerate(beginnings)}
    return {
        "subjects": list(beginnings),
        "beginnings": list(beginnings.values()),
        "items": [_item(record, places[record["subject"]], beginnings[record["subject"]]) for record in records],
    }


def _beginning(prompts: Sequence[str]) -> str:
    """What several prompts begin with, up to a line's end."""
    if len(prompts) == 1:
        return ""
    first = min(prompts)
    shared = first[: first_difference(first, max(prompts))]
    return shared[: shared.rfind("\n") + 1]


def _item(record: Mapping[str, Any], subject: int, beginning: str) -> dict[str, Any]:
    item = {
        "id": record["id"],
        "subject": subject,
        "prompt": asked_text(record)[len(beginning) :],
        "predicted": record["predicted"],
        "answer": record["answer"],
        "correct": record["correct"],
        "flags": [
            *(shown for name, shown in _FLAGS if record[name]),
            *([] if record["predicted"] else ["no answer"]),
        ],
    }
    if record.get("margin") is not None:
        item["margin"] = round(record["margin"], 4)
    if "logprobs" in record:
        item["choices"] = record.get("choices")
        item["logprobs"] = [round(logprob, 3) for logprob in record["logprobs"]]
    else:
        item["output"] = record["output"]
    if "outcome" in record:
        item["ran"] = "\n".join(filter(None, (record["outcome"], record.get("error", ""))))
    return item


def json_in_html(value: Any) -> str:
    """JSON that a script element may hold: no text in it ends the element or begins another, and all of it is ASCII.

    >>> json_in_html({"reply": "</script><!--\\u202e"})
    '{"reply":"\\\\u003c/script\\\\u003e\\\\u003c!--\\\\u202e"}'
    """
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
