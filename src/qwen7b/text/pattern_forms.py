"""Recognizes the patterns that we know in the other notations that tools and libraries use."""

from __future__ import annotations

import re
import warnings
from functools import cache
from itertools import product
from string import ascii_letters

import regex

from qwen7b.text import patterns

_KNOWN = (patterns.QWEN, patterns.GPT2)
_CLASS = re.compile(r"\[(\^?)((?:\\p\{\w+\}|\\.|[^\]\\-])+)\]")
_MEMBER = re.compile(r"\\p\{\w+\}|\\.|.")
# Equivalent notations: what is on the left is rewritten as what is on the right.
_REWRITES = (
    ("\r", r"\\r"),
    ("\n", r"\\n"),
    (r"\\p(?:L|\{Letter\})(?!\w)", r"\\p{L}"),
    (r"\\p(?:N|\{Number\})(?!\w)", r"\\p{N}"),
    (r"\{1(?:,1)?\}", ""),
    (_CLASS.pattern, lambda match: _sorted_class(match[1], match[2])),
    # Possessive: what follows is nothing that these classes hold, so giving a character back never helps.
    (r"(\[\^[^\]]*\\p\{L\}\\p\{N\}[^\]]*\][?+]|\\p\{[LN]\}\+)\+", r"\1"),
)
# An apostrophe and at most two letters; the long s is an s to a pattern that ignores case.
_LETTERS = f"{ascii_letters}'"
_CONTRACTIONS = [f"'{''.join(letters)}" for count in (0, 1, 2) for letters in product(_LETTERS, repeat=count)]
_LONG_S = "'ſ"


def known_form(pattern: str) -> str | None:
    """The pattern of ours that cuts every text into the same pieces; None where no such pattern is known.

    >>> known_form(r"'(?i:[sdmt]|ll|ve|re)" + patterns.QWEN[patterns.QWEN.index(")") + 1 :]) == patterns.QWEN
    True
    """
    if pattern in _KNOWN:
        return pattern
    try:
        form = _form(pattern)
    except (regex.error, ValueError):
        return None
    for known in _KNOWN:
        if form == _form(known):
            if _first_match(pattern, _LONG_S) != _first_match(known, _LONG_S):
                warnings.warn(
                    f"the tokenizer's pattern is treated as the usual one, from which it differs only at {_LONG_S}",
                    stacklevel=2,
                )
            return known
    return None


@cache
def _form(pattern: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The contractions that a pattern takes, and its other alternatives in one notation: equal for equal patterns."""
    contractions, others = _alternatives(pattern)
    first = regex.compile("|".join(contractions) or "(?!)")
    taken = tuple(match[0] if (match := first.match(text)) else "" for text in _CONTRACTIONS)
    for index, other in enumerate(others):
        for before, after in _REWRITES:
            other = re.sub(before, after, other)
        others[index] = other
    if others[-1:] == [r"\s+(?!\S)"]:  # what no alternative takes is a piece by itself
        others.append(r"\s+")
    return taken, tuple(others)


def _alternatives(pattern: str) -> tuple[list[str], list[str]]:
    """The alternatives that take contractions, where they come first, and the others."""
    ignores_case = pattern.startswith("(?i)")
    parts, depth, start = [], 0, 0
    pattern = pattern.removeprefix("(?i)") + "|"
    for match in re.finditer(r"\\.|\[(?:\\.|[^\]\\])*\]|[()|]", pattern, re.DOTALL):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if match[0] == "|" and depth == 0:
            parts.append(pattern[start : match.start()])
            start = match.end()
    count = next(
        (n for n, part in enumerate(parts) if not re.fullmatch(r"[()?:i]*'['()\[\]?:|A-Za-z]+", part)), len(parts)
    )
    return [f"(?i:{part})" if ignores_case else part for part in parts[:count]], parts[count:]


def _sorted_class(negation: str, members: str) -> str:
    distinct = sorted(set(_MEMBER.findall(members)))
    return distinct[0] if len(distinct) == 1 and not negation else f"[{negation}{''.join(distinct)}]"


def _first_match(pattern: str, text: str) -> str:
    match = regex.match(pattern, text + "x")
    return match[0] if match else ""
