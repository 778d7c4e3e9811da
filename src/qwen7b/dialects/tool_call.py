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
from collections.abc import Sequence
from dataclasses import dataclass

import regex

from qwen7b.dialects.call_object import write_call
from qwen7b.dialects.call_text import CallMarks, CallTextParser
from qwen7b.dialects.definition import ToolDefinition
from qwen7b.dialects.dialect import CallParser, ToolChoice
from qwen7b.dialects.function_turns import offer_tools, write_turns
from qwen7b.dialects.lark import arguments, call_grammar, literal
from qwen7b.text.messages import Message
from qwen7b.text.rendered import Control
from qwen7b.text.tool_calls import ToolCall

_OPEN, _CLOSE = Control("<tool_call>"), Control("</tool_call>")
_MARKS = CallMarks(
    opening=regex.compile(r"\n?<tool_call>"),
    closing=regex.compile(r"\s*+</tool_call>"),
    next=regex.compile(r"\s*+(?:</tool_call>\s*+)?<tool_call>"),
)
_INSTRUCTION = (
    "For each function call, return a json object with function name and arguments within ",
    *(_OPEN, _CLOSE, " XML tags:\n"),
    *(_OPEN, '\n{"name": <function-name>, "arguments": <args-json-object>}\n', _CLOSE),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCallDialect:
    """The prompt and the calls of Qwen2.5."""

    name: str = "tool_call"
    has_control_tokens: bool = True
    """True where the vocabulary has the marks as control tokens, so that its models write them as such."""

    @property
    def stop(self) -> Sequence[str]:
        return ()

    def write(self, messages: Sequence[Message], tools: Sequence[ToolDefinition]) -> list[Message]:
        """Write calls and results as the model's own template does: see `Dialect.write`."""
        return offer_tools(write_turns(messages, write_calls=_write_calls), tools, instruction=_INSTRUCTION)

    def parser(self, tools: Sequence[ToolDefinition]) -> CallParser:
        """A call is what stands behind <tool_call>, though its name be none of the tools': the caller can say so."""
        return CallTextParser(_MARKS, names=None)

    def grammar(self, tools: Sequence[ToolDefinition], *, choice: ToolChoice, parallel: bool) -> str:
        """Calls as `write` makes them: see `Dialect.grammar`."""
        mark, closing = (_OPEN, _CLOSE) if self.has_control_tokens else (str(_OPEN), literal(_CLOSE))

        def call(tool: ToolDefinition) -> str:
            head = f'\n{{"name": {json.dumps(tool.name, ensure_ascii=False)}, "arguments": '
            return f"{literal(head)} {arguments(tool)} {tail} {closing}"

        tail = literal("}\n")
        return call_grammar(tools, call, mark=mark, between="\n", choice=choice, parallel=parallel)


def _write_calls(calls: Sequence[ToolCall]) -> list[str]:
    parts: list[str] = []
    for call in calls:
        parts += ["\n" if parts else "", _OPEN, f"\n{write_call(call)}\n", _CLOSE]
    return parts
