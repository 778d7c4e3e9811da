"""The rows that the engine's benchmarks print: a line each as they come, or all as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    value: float
    goal: str
    figures: dict[str, float]


def print_rows(rows: Iterable[Row], *, as_json: bool) -> None:
    """Print the rows; they may be measured as they are asked for."""
    if as_json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1))
        return
    for row in rows:
        print(f"{row.value:9.3f}  {row.goal:<20} {row.what}  {row.figures or ''}".rstrip(), flush=True)
