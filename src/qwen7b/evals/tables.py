"""Tables of results, in Markdown that also reads well in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qwen7b.evals.perplexity import Perplexity

if TYPE_CHECKING:
    from qwen7b.evals.needle import Retrieval


def perplexity_table(results: Sequence[Perplexity]) -> str:
    """The results of one file in one precision, as in the original's tables: a row per method, a column per length."""
    cells = {(result.method, result.length): f"{result.perplexity:.2f}" for result in results}
    return _table("method", cells)


def retrieval_table(results: Sequence[Retrieval]) -> str:
    """The results of one method in one precision: a row per depth, a column per length."""
    cells = {(f"{result.depth}%", result.length): f"{result.accuracy:.0%}" for result in results}
    return _table("depth", cells)


def _table(corner: str, cells: dict[tuple[str, int], str]) -> str:
    """Format cells, by row name and length, as a table.

    >>> print(_table("depth", {("0%", 1024): "50%", ("0%", 2048): "100%"}))
    | depth | 1,024 | 2,048 |
    | ----- | ----: | ----: |
    | 0%    |   50% |  100% |
    """
    names = list(dict.fromkeys(name for name, _ in cells))
    lengths = list(dict.fromkeys(length for _, length in cells))
    heads = [f"{length:,}" for length in lengths]
    rows = [[cells[name, length] for length in lengths] for name in names]
    first = max(len(corner), *map(len, names))
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def line(name: str, values: Sequence[str]) -> str:
        padded = [value.rjust(width) for value, width in zip(values, widths, strict=True)]
        return f"| {' | '.join([name.ljust(first), *padded])} |"

    rule = f"| {' | '.join(['-' * first, *['-' * (width - 1) + ':' for width in widths]])} |"
    return "\n".join([line(corner, heads), rule, *map(line, names, rows)])
