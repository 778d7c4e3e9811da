"""Replies read by a dialect's parser: whole, in pieces, and every way to cut one in two or three."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from qwen7b.dialects import Dialect, ParsedReply, ToolDefinition, join_deltas


def tools(*names: str) -> list[ToolDefinition]:
    """Tools of these names that take anything."""
    return [ToolDefinition(name=name) for name in names]


def read(dialect: Dialect, *pieces: str, tools: Sequence[ToolDefinition] = ()) -> ParsedReply:
    parser = dialect.parser(tools)
    items = [item for piece in pieces for item in parser.push(piece)] + parser.flush()
    named = [item.index for item in items if not isinstance(item, str) and item.name is not None]
    assert named == [*range(len(named))], "each name comes once, in order"
    assert "" not in items, "no empty content is given out"
    return join_deltas(items)


def read_every_split(dialect: Dialect, text: str, *, tools: Sequence[ToolDefinition] = ()) -> ParsedReply:
    """Read a reply whole; assert that it reads the same cut in two anywhere, and character by character."""
    whole = read(dialect, text, tools=tools)
    for place in range(len(text) + 1):
        assert read(dialect, text[:place], text[place:], tools=tools) == whole, (text[:place], text[place:])
    assert read(dialect, *text, tools=tools) == whole
    for size in (2, 3, 7):
        cuts = [*range(0, len(text), size), len(text)]
        assert read(dialect, *(text[start:end] for start, end in pairwise(cuts)), tools=tools) == whole
    return whole
