"""Text files as parts of a message, before the text that the user types: joined, and split again."""

from __future__ import annotations

import re

_PART = re.compile(r"(?P<name>[^\n]+):\n(?P<fence>`{3,})\n(?:.*?\n)??(?P=fence)\n\n", re.DOTALL)


def as_part(name: str, text: str) -> str:
    """A file as a part of a message: its name, and its text between fences that do not occur in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    newline = "" if text.endswith("\n") or not text else "\n"
    return f"{name}:\n{fence}\n{text}{newline}{fence}"


def join_parts(parts: list[str], typed: str) -> str:
    """Join files and the text that the user typed into a message."""
    return "\n\n".join([*parts, typed])


def split_parts(message: str) -> tuple[list[str], str]:
    """Split a message into its files and the text that the user typed.

    >>> split_parts(join_parts([as_part("a.txt", "A"), as_part("b.txt", "B")], "What?"))[1]
    'What?'
    """
    parts, start = [], 0
    while match := _PART.match(message, start):
        parts.append(match[0].removesuffix("\n\n"))
        start = match.end()
    return parts, message[start:]


def shown_message(message: str) -> str:
    """A message as its writer sees it: files are shown by their names.

    >>> shown_message(join_parts([as_part("a.txt", "A")], "What?"))
    '[a.txt] What?'
    """
    parts, typed = split_parts(message)
    names = [part.partition("\n")[0].removesuffix(":") for part in parts]
    return " ".join([*(f"[{name}]" for name in names), typed])
