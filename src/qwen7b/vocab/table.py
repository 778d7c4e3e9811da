"""The table of `qwen7b vocab measure`, in Markdown that also reads well in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width

from qwen7b.vocab.compression import Compression


def compression_table(results: Sequence[Compression]) -> str:
    """A row per language: its size, then for each vocabulary bytes a token and tokens relative to the baseline's.

    >>> print(aligned_table([["language", "demo"], ["code", "3.9"]]))
    | language | demo |
    | -------- | ---: |
    | code     |  3.9 |
    """
    vocabularies = list(dict.fromkeys(result.vocabulary for result in results))
    others = [name for name in vocabularies if name != results[0].baseline]
    head = ["language", "MB", *(f"{name}: bytes a token" for name in vocabularies)]
    rows = [head + [f"{name}: × {results[0].baseline}" for name in others]]
    for language in dict.fromkeys(result.language for result in results):
        of = {result.vocabulary: result for result in results if result.language == language}
        size = next(iter(of.values())).bytes / 1e6
        cells = [language, f"{size:.3f}", *(f"{of[name].bytes_per_token:.2f}" for name in vocabularies)]
        rows.append(cells + [f"{of[name].relative_tokens:.2f}" for name in others])
    return aligned_table(rows)


def aligned_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first row as its head, all columns but the first aligned right."""
    widths = [max(2, *map(_width, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        gaps = [" " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)]
        right = [gap + cell for cell, gap in zip(cells[1:], gaps[1:], strict=True)]
        return f"| {' | '.join([cells[0] + gaps[0], *right])} |"

    rule = f"| {' | '.join(['-' * widths[0], *['-' * (width - 1) + ':' for width in widths[1:]]])} |"
    return "\n".join([line(rows[0]), rule, *map(line, rows[1:])])


def _width(text: str) -> int:
    """The columns of a terminal that a text takes."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
