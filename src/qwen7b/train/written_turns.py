"""Conversations with tools as a dialect writes them, in which it is known what the assistant did not write itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from qwen7b.dialects import Dialect, ToolDefinition
from qwen7b.errors import PromptError
from qwen7b.text import Message
from qwen7b.text.content_marks import free_characters, without_marks
from qwen7b.text.rendered import Control, Given, content_text
from qwen7b.train.conversations import AWAITED


def write_plainly(
    messages: Sequence[Message], tools: Sequence[ToolDefinition], dialect: Dialect
) -> tuple[list[Message], bool]:
    """Write checked messages as plain ones, in which results of tools are `Given` where they are in the assistant's.

    The flag says whether the last message is left open: in some dialects the assistant's message goes on with a
    result, and there a call without one ends it. Raises PromptError where calls cannot be told from their results.
    """
    plain = dialect.write(messages, tools)
    free = free_characters(*(content_text(message["content"]) for message in plain))
    marks = next(free) + next(free)
    written = dialect.write([_marked(message, marks) for message in messages], tools)
    same = all(
        without_marks(content_text(message["content"]), marks) == content_text(other["content"])
        for message, other in zip(written, plain, strict=True)
    )
    if not same:
        raise PromptError(
            f"the dialect {dialect.name} changes results of tools, so that they cannot be told from the reply: choose "
            "another dialect"
        )
    turns = [{**message, "content": [*_parts(message["content"], marks)]} for message in written]
    own = [part for turn in turns if turn["role"] == "assistant" for part in turn["content"]]
    if not dialect.stop and any(isinstance(part, Given) for part in own):
        raise PromptError(
            f"the dialect {dialect.name} has results in the assistant's own message and nothing that ends a call "
            "before them, so a model would learn to make results up: choose another, such as tool_call"
        )
    return _without_awaited(turns, messages, dialect)


def _marked(message: Message, marks: str) -> Message:
    """A result with marks around it; white space at its edges stays outside, as dialects trim it."""
    content = message["content"]
    kept = content.strip()
    if message["role"] != "tool" or not kept:
        return message
    before, after = content.split(kept, 1)
    return {**message, "content": f"{before}{marks[0]}{kept}{marks[1]}{after}"}


def _parts(content: str | Sequence[str], marks: str) -> Iterator[str]:
    for part in [content] if isinstance(content, str) else content:
        if isinstance(part, Control):
            yield part
            continue
        for number, stretch in enumerate(re.split(f"[{marks}]", part)):
            yield Given(stretch) if number % 2 else stretch


def _without_awaited(
    turns: Sequence[Message], messages: Sequence[Message], dialect: Dialect
) -> tuple[list[Message], bool]:
    """The messages up to the results that are not there, and whether the last of them is cut."""
    for number, turn in enumerate(turns):
        parts = turn["content"]
        if not any(AWAITED in part for part in parts):
            continue
        if turn["role"] != "assistant":
            return [*turns[:number]], False
        place = next(place for place, part in enumerate(parts) if AWAITED in part)
        calls = [message["call"] for message in messages if message["content"] == AWAITED]
        rest = content_text(parts[place:])
        if any(call.name in rest for call in calls[1:]):
            raise PromptError(
                f"it ends with {len(calls)} calls, and the dialect {dialect.name} has a result behind each: give the "
                "results, or end with one call"
            )
        kept = [*parts[: place - 1], parts[place - 1].rstrip()]  # a text, as every result stands between two
        return [*turns[:number], {**turn, "content": kept}], True
    return [*turns], False
