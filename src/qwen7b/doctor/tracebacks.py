"""An old traceback in, its likely causes and remedies out; knows only the tables of known errors."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qwen7b.doctor.known_error import KnownError
from qwen7b.doctor.known_errors import KNOWN_ERRORS, REMOTE_CODE
from qwen7b.errors import PromptError

# The last line of a traceback: an exception's name, perhaps with its module, and what it says.
_EXCEPTION = re.compile(
    r"^(?:\[.*?\]:? ?)?(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Warning|Exit)\b.*"
)
_MAX_CAUSES = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """The likely causes of a traceback."""

    line: str
    """The line of the traceback that says what went wrong."""
    causes: tuple[KnownError, ...]
    """The likely causes, the likeliest first; empty if the tables have nothing like it."""


def explain_traceback(text: str) -> Explanation:
    """Explain a traceback, or the last lines of a log. Raises PromptError for an empty text.

    >>> explain_traceback("ModuleNotFoundError: No module named 'einops'").causes[0].name
    'einops missing'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise PromptError("there is nothing to explain on standard input: give a traceback there, or a path")
    line = next((line for line in reversed(lines) if _EXCEPTION.match(line)), lines[-1])
    matching_line = [known for known in KNOWN_ERRORS if known.pattern.search(line)]
    # What was printed last is nearest to the cause.
    matching_elsewhere = sorted(
        ((_last_match(known, text), known) for known in KNOWN_ERRORS if known not in matching_line),
        key=lambda entry: -entry[0],
    )
    causes = [*matching_line, *(known for position, known in matching_elsewhere if position >= 0)]
    if not causes and REMOTE_CODE.pattern.search(text):
        causes = [REMOTE_CODE]
    return Explanation(line, tuple(causes[:_MAX_CAUSES]))


def _last_match(known: KnownError, text: str) -> int:
    return max((match.start() for match in known.pattern.finditer(text)), default=-1)
