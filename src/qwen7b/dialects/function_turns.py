"""Conversations as Qwen2.5 and its relatives lay them out: tools in the system message, results in the user's role."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from qwen7b.dialects.definition import ToolDefinition, openai_form
from qwen7b.text.messages import Message
from qwen7b.text.rendered import Content, Control
from qwen7b.text.tool_calls import ToolCall

_BEFORE_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)


def write_turns(
    messages: Sequence[Message], *, write_calls: Callable[[Sequence[ToolCall]], Sequence[str]]
) -> list[Message]:
    """Write checked messages as plain ones; `write_calls` writes one message's, which stand on a line of their own."""
    written: list[Message] = []
    for are_results, group in groupby(messages, key=lambda message: message["role"] == "tool"):
        if are_results:
            written.append({"role": "user", "content": [*_write_results([each["content"] for each in group])]})
            continue
        for message in group:
            content: Content = message["content"]
            if calls := message.get("tool_calls"):
                content = [f"{content}\n" if content else "", *write_calls(calls)]
            written.append({"role": message["role"], "content": content})
    return written


def offer_tools(
    written: Sequence[Message], tools: Sequence[ToolDefinition], *, instruction: Sequence[str]
) -> list[Message]:
    """Describe the tools in the system message of plain messages, and say behind them how to write a call."""
    if not tools:
        return [*written]
    has_system = written[0]["role"] == "system"
    before = f"{written[0]['content']}\n\n" if has_system else ""
    lines = "".join(f"\n{json.dumps(openai_form(tool), ensure_ascii=False)}" for tool in tools)
    content = [f"{before}{_BEFORE_TOOLS}{lines}\n</tools>\n\n", *instruction]
    return [{"role": "system", "content": content}, *written[has_system:]]


def _write_results(contents: Sequence[str]) -> Iterator[str]:
    for place, content in enumerate(contents):
        yield "\n" if place else ""
        yield Control("<tool_response>")
        yield f"\n{content}\n"
        yield Control("</tool_response>")
