"""Marks put into messages to find their contents again in what a template renders.

A mark is a private-use character that occurs nowhere else. A template that changes a content, for example by trimming
it or by dropping a chain of thought, keeps the marks of the parts that it keeps.
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
    """Private-use characters that occur in none of these texts."""
    used = {character for text in texts for character in _PRIVATE.findall(text)}
    areas = chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
    return (character for character in map(chr, areas) if character not in used)


def mark_contents(messages: Sequence[Message], marks: str, *, template: str, inside: bool) -> list[Message]:
    """Put a mark before and after each stretch of every content; each message has two of `marks` for itself.

    A stretch is the text between two tags that the template knows. With `inside` the white space at its edges stays
    outside the marks, so that the template can still trim it, and a blank stretch gets no marks.
    """
    tags = _tags_of(template)
    marked: list[Message] = []
    for message, begin, end in zip(messages, marks[::2], marks[1::2], strict=True):
        parts = tags.split(message["content"])  # stretches, and every other one a tag
        for index in range(0, len(parts), 2):
            stretch = parts[index]
            kept = stretch.strip() if inside else stretch
            if kept or not inside:
                before, after = stretch.split(kept, 1) if kept else ("", "")
                parts[index] = f"{before}{begin}{kept}{end}{after}"
        marked.append({**message, "content": "".join(parts)})
    return marked


def find_contents(rendered: str, marks: str, *, messages: Sequence[Message]) -> list[Span | None]:
    """Find each message's content, from its first stretch to its last, as characters of the text without the marks.

    `messages` are those that were rendered. A content that has lost one mark of a stretch, or occurs twice, has no
    span.
    """
    message_of = {mark: index // 2 for index, mark in enumerate(marks)}
    occurrences_of: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for passed, match in enumerate(re.finditer(f"[{marks}]", rendered)):
        occurrences_of[message_of[match[0]]].append((match[0], match.start() - passed))
    spans: list[Span | None] = [None] * len(messages)
    for message, occurrences in occurrences_of.items():
        pair, remaining = marks[2 * message : 2 * message + 2], "".join(mark for mark, _ in occurrences)
        if remaining == pair * (len(remaining) // 2) and len(remaining) <= 2 * messages[message]["content"].count(
            pair[0]
        ):
            spans[message] = (occurrences[0][1], occurrences[-1][1])
    return spans


def without_marks(text: str, marks: str) -> str:
    return text.translate(dict.fromkeys(map(ord, marks)))


@lru_cache(maxsize=8)
def _tags_of(template: str) -> re.Pattern[str]:
    names = sorted(set(_TAG.findall(template)))
    return re.compile(f"({'|'.join(map(re.escape, names))})" if names else r"((?!))")
