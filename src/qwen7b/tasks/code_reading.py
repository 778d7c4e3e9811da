"""The code in a reply to a HumanEval prompt, which is appended to that prompt and run.

A base model's continuation ends where `cuts` says. The original's rules for a chat reply stayed the same from its
release on; only the prompt changed.
"""

from __future__ import annotations

import re
import textwrap

_NEWLINES = re.compile(r"\n+")


def read_chat_code(reply: str, entry_point: str) -> str:
    r"""The body of the function `entry_point` in a chat reply, by the original's rules; their first match counts.

    1. Behind a fence of three backquotes, the function's body up to the fence that closes it.
    2. The function's body, without a fence: its indented lines.
    3. The body behind any `def`.
    4. The whole reply, indented by 4 blanks, as it is taken to be the body.

    A body begins after the first colon at a line's end behind `def NAME`, which need not be that of the signature.
    The original writes the rules as expressions that take hours on a hostile reply; each of their parts is satisfied
    by its first occurrence or by none, so that one search for each finds the same.

    >>> read_chat_code("Sure:\n```python\ndef add(a, b):\n    return a + b\n```", "add")
    '    return a + b'
    """
    named = re.compile(rf"def\s+{re.escape(entry_point)}")
    body = _body_in_fence(reply, named)
    if body is None:
        body = _indented_body(reply, named)
    if body is None:
        body = _indented_body(reply, re.compile("def"))
    return textwrap.indent(reply, " " * 4) if body is None else body


def read_standard_chat_code(reply: str) -> str:
    """What lm-eval's `humaneval_instruct` takes of a reply that goes on within a fence: all before the next fence."""
    return reply.partition("```")[0]


def _body_start(reply: str, define: re.Pattern[str], start: int) -> int | None:
    """Where the line after the signature begins, looking from `start` on."""
    if not (found := define.search(reply, start)):
        return None
    colon = reply.find(":\n", found.end())
    return None if colon < 0 else colon + 2


def _body_in_fence(reply: str, define: re.Pattern[str]) -> str | None:
    fence = reply.find("```")
    start = None if fence < 0 else _body_start(reply, define, fence + 3)
    if start is None:
        return None
    end = reply.find("\n```", start)
    return None if end < 0 else reply[start:end]


def _indented_body(reply: str, define: re.Pattern[str]) -> str | None:
    start = _body_start(reply, define, 0)
    if start is None:
        return None
    for newlines in _NEWLINES.finditer(reply, start):
        if not reply.startswith(("  ", "\t"), newlines.end()):
            return reply[start : newlines.start()]
    return reply[start:]
