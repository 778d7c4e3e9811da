"""The dialect `tool_call` of Qwen2.5, which Hermes models began.

    <|im_start|>system
    You are a helpful assistant.

    # Tools
    …
    <tools>
    {"type": "function", "function": {"name": …, "description": …, "parameters": …}}
    </tools>
    …<|im_end|>
    <|im_start|>user
    Weather in Paris?<|im_end|>
    <|im_start|>assistant
    <tool_call>
    {"name": "weather", "arguments": {"city": "Paris"}}
    </tool_call><|im_end|>
    <|im_start|>user
    <tool_response>
    18 degrees
    </tool_response><|im_end|>
    <|im_start|>assistant

<tool_call> and </tool_call> are control tokens where the vocabulary has them, and only where this file puts them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from qwen7b.dialects.call_object import write_call
from qwen7b.dialects.definition import ToolDefinition
from qwen7b.dialects.dialect import CallParser, ToolChoice
from qwen7b.dialects.lark import arguments, call_grammar, literal
from qwen7b.dialects.marked_calls import MarkedCallParser
from qwen7b.text.messages import Message
from qwen7b.text.rendered import Content, Control

_OPEN, _CLOSE = Control("<tool_call>"), Control("</tool_call>")
_BEFORE_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_BEFORE_MARKS = "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
_EXAMPLE = '\n{"name": <function-name>, "arguments": <args-json-object>}\n'


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCallDialect:
    """The prompt and the calls of Qwen2.5."""

    name: str = "tool_call"
    default_system: str | None = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    """What stands before the tools where a conversation has no system message; None: nothing."""
    has_control_tokens: bool = True
    """True where the vocabulary has the marks as control tokens, so that its models write them as such."""

    @property
    def stop(self) -> Sequence[str]:
        return ()

    def write(self, messages: Sequence[Message], tools: Sequence[ToolDefinition]) -> list[Message]:
        """Write calls and results as the model's own template does: see `Dialect.write`."""
        written: list[Message] = []
        for are_results, group in groupby(messages, key=lambda message: message["role"] == "tool"):
            if are_results:
                written.append({"role": "user", "content": _write_results([message["content"] for message in group])})
            else:
                written += [{"role": each["role"], "content": _write_content(each)} for each in group]
        if not tools:
            return written
        has_system = written[0]["role"] == "system"
        system = written.pop(0)["content"] if has_system else self.default_system
        return [{"role": "system", "content": _write_system(system, tools)}, *written]

    def parser(self, tools: Sequence[ToolDefinition]) -> CallParser:
        """A call is what stands behind <tool_call>, though its name be none of the tools': the caller can say so."""
        return MarkedCallParser(open=_OPEN, close=_CLOSE)

    def grammar(self, tools: Sequence[ToolDefinition], *, choice: ToolChoice, parallel: bool) -> str:
        """Calls as `write` makes them: see `Dialect.grammar`."""
        mark, closing = (_OPEN, _CLOSE) if self.has_control_tokens else (str(_OPEN), literal(_CLOSE))

        def call(tool: ToolDefinition) -> str:
            head = f'\n{{"name": {json.dumps(tool.name, ensure_ascii=False)}, "arguments": '
            return f"{literal(head)} {arguments(tool)} {tail} {closing}"

        tail = literal("}\n")
        return call_grammar(tools, call, mark=mark, between="\n", choice=choice, parallel=parallel)


def openai_form(tool: ToolDefinition) -> dict[str, object]:
    """A tool as OpenAI's API describes it."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}


def _write_system(system: Content | None, tools: Sequence[ToolDefinition]) -> Content:
    lines = "".join(f"\n{json.dumps(openai_form(tool), ensure_ascii=False)}" for tool in tools)
    marks = (_OPEN, _CLOSE, " XML tags:\n", _OPEN, _EXAMPLE, _CLOSE)
    return [*_parts(system), *(() if system is None else ("\n\n",)), _BEFORE_TOOLS + lines + _BEFORE_MARKS, *marks]


def _write_content(message: Message) -> Content:
    calls = message.get("tool_calls") or ()
    if not calls:
        return message["content"]  # type: ignore[no-any-return]
    parts = _parts(message["content"])
    for call in calls:
        parts += ["\n"] if "".join(parts) else []
        parts += [_OPEN, f"\n{write_call(call)}\n", _CLOSE]
    return parts


def _write_results(contents: Sequence[Content]) -> Content:
    return [*_join(contents)]


def _join(contents: Sequence[Content]) -> Iterator[str]:
    for place, content in enumerate(contents):
        yield "\n" if place else ""
        yield Control("<tool_response>")
        yield from ("\n", *_parts(content), "\n")
        yield Control("</tool_response>")


def _parts(content: Content | None) -> list[str]:
    return [content or ""] if isinstance(content, str | None) else [*content]
