"""Marks in messages that show where their contents stand in what a template makes of them.

A mark is a character for private use that occurs nowhere else. A template that changes a content, as by trimming it or
by dropping what was thought, leaves the marks of what is still there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain

from qwen7b.text.messages import Message
from qwen7b.text.token_spans import Span

_TAG = re.compile(r"</?\w+>")
"""A tag, such as </think>, which a template may look for in a content and drop with all that stands before it."""

_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010ffff]")


def free_characters(*texts: str) -> Iterator[str]:
    """Characters for private use that occur in none of these texts."""
    used = {character for text in texts for character in _PRIVATE.findall(text)}
    areas = chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
    return (character for character in map(chr, areas) if character not in used)


def mark_contents(messages: Sequence[Message], marks: str, *, template: str, inside: bool) -> list[Message]:
    """The messages with marks where each stretch of a content begins and ends: two of `marks` for each message.

    Stretches are what stands between the tags that the template knows. With `inside` the white space at their edges
    stays outside the marks, so that it can still be trimmed, and a blank stretch has none.
    """
    tags = _tags_of(template)
    marked: list[Message] = []
    for message, begin, end in zip(messages, marks[::2], marks[1::2], strict=True):
        parts = tags.split(message["content"])  # stretches, and every other one a tag
        for place in range(0, len(parts), 2):
            stretch = parts[place]
            kept = stretch.strip() if inside else stretch
            if kept or not inside:
                before, after = stretch.split(kept, 1) if kept else ("", "")
                parts[place] = f"{before}{begin}{kept}{end}{after}"
        marked.append({**message, "content": "".join(parts)})
    return marked


def find_contents(rendered: str, marks: str, *, messages: Sequence[Message]) -> list[Span | None]:
    """Find each message's content, from its first stretch to its last, as characters of the text without the marks.

    `messages` are those that were rendered. A content that has lost one mark of a stretch, or is there twice, has no
    span.
    """
    number_of = {mark: place // 2 for place, mark in enumerate(marks)}
    places: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for passed, match in enumerate(re.finditer(f"[{marks}]", rendered)):
        places[number_of[match[0]]].append((match[0], match.start() - passed))
    spans: list[Span | None] = [None] * len(messages)
    for number, found in places.items():
        pair, left = marks[2 * number : 2 * number + 2], "".join(mark for mark, _ in found)
        if left == pair * (len(left) // 2) and len(left) <= 2 * messages[number]["content"].count(pair[0]):
            spans[number] = (found[0][1], found[-1][1])
    return spans


def without_marks(text: str, marks: str) -> str:
    return text.translate(dict.fromkeys(map(ord, marks)))


@lru_cache(maxsize=8)
def _tags_of(template: str) -> re.Pattern[str]:
    names = sorted(set(_TAG.findall(template)))
    return re.compile(f"({'|'.join(map(re.escape, names))})" if names else r"((?!))")
