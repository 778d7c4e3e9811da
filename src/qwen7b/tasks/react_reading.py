"""Calls in ReAct replies, read as the original's evaluation reads them.

Its rules changed once, in 2023-12: a call was any "Action:" and became a line that begins with "Action: ", and
arguments that are no JSON were compared as they are and became none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module

from qwen7b.errors import MissingExtraError
from qwen7b.tasks.procedure import Procedure

_ACTION, _INPUT, _OBSERVATION = "Action:", "Action Input:", "Observation:"


@dataclass(frozen=True, slots=True)
class ReactCall:
    """What stands after "Action:" and "Action Input:"; of a reply without them it is of no meaning."""

    name: str
    arguments: str
    """JSON with sorted keys. Other text is left as it is, or by the later rules empty."""


def check_json5() -> None:
    """Raise MissingExtraError if arguments cannot be read, so that no hours of work are lost to it."""
    try:
        import_module("json5")
    except ImportError as error:
        raise MissingExtraError("json5", extra="tools") from error


def calls_tool(reply: str, procedure: Procedure, *, needs_tool: bool) -> bool:
    """Whether a reply counts as a call: to a question that needs one, or to one that does not."""
    if procedure is not Procedure.ORIGINAL_2023_08:
        return "\nAction: " in reply
    return (_ACTION if needs_tool else f"\n{_ACTION}") in reply


def read_call(reply: str, procedure: Procedure) -> ReactCall:
    """The first call of a reply.

    >>> read_call("Thought: draw\\nAction: image_gen\\nAction Input: {size: 2}", Procedure.STANDARD)
    ReactCall(name='image_gen', arguments='{"size": 2}')
    """
    reply += "\n"
    arguments = _between(reply, _INPUT, _OBSERVATION)
    return ReactCall(
        name=_between(reply, _ACTION, _INPUT),
        arguments=_normalized(arguments, otherwise=arguments if procedure is Procedure.ORIGINAL_2023_08 else ""),
    )


def _between(text: str, start: str, end: str) -> str:
    """What stands from the first `start` to the first `end`, even if that comes earlier.

    A mark that is missing counts as found just before the text: without an end, the last character is left out, and
    without a start as many as it has, less one. Likenesses of replies that call nothing depend on it.
    """
    return text[text.find(start) + len(start) : text.find(end)].strip()


def _normalized(arguments: str, *, otherwise: str) -> str:
    from json5 import loads

    try:
        found = json.dumps(loads(arguments), ensure_ascii=False, sort_keys=True)
    except (ValueError, RecursionError):
        found = otherwise
    # JSON can name half of a surrogate pair, which no text in UTF-8 has.
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
