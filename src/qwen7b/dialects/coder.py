"""The dialect `coder` of Qwen2.5-Coder, which was trained on no calls, and writes them as it writes code.

    ```json
    {"name": "weather", "arguments": {"city": "Paris"}}
    ```

Its template is that of Qwen2.5, and asks for <tool_call>, which it never writes. Here it is asked for what it does
write. All that it has been seen to write is read: objects with and without a fence, lists of them, other marks.
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
from qwen7b.dialects.function_turns import DEFAULT_SYSTEM, write_turns
from qwen7b.dialects.lark import arguments, called_tools, literal
from qwen7b.text.messages import Message

_FENCE = r"(?:```[\w-]*+[ \t]*+\n|<tools>)\s*+"
_END = r"(?:\s*+\])?+\s*+(?:```|</tool_call>|</tools>)"
_OBJECT = r"(?:\[\s*+)?+(?=\{)"
_MARKS = CallMarks(
    opening=regex.compile(rf"(?:\n[ \t]*+(?:{_FENCE})?+|\n?<tool_call>\s*+){_OBJECT}"),
    closing=regex.compile(rf"{_END}|\s*+\]"),
    next=regex.compile(rf"(?:{_END})?+\s*+(?:(?:{_FENCE}|<tool_call>\s*+)?+{_OBJECT}|,\s*+(?=\{{))"),
)
_INSTRUCTION = """For each function call, return a json object with function name and arguments in a fenced block:
```json
{"name": <function-name>, "arguments": <args-json-object>}
```"""
# A call may begin only as it is forced to go on. So text may not begin one that the parser would read and no mask saw.
_LEAD = r'(\n[ \t]*|(.|\n)*\n[ \t]*|[ \t]*)(```[a-z]*[ \t]*\n[ \t]*)?(\[[ \t]*\n?[ \t]*)?\{[ \t]*\n?[ \t]*"name":[ ]?"'
_NO_CALL = r"""(.|\n)*\{\s*["']?(name|arguments|parameters)(.|\n)*"""
_FORCED = '```json\n{"name": "'
_BETWEEN = r'((\n```)?\n(```json\n)?|,[ \n]?[ ]?[ ]?)\{"name": "'
_AFTER = r"(\n?\])?(\n```)?"


@dataclass(frozen=True, kw_only=True, slots=True)
class CoderDialect:
    """Qwen2.5's prompt, less its marks, and calls in fences of JSON."""

    name: str = "coder"
    default_system: str | None = DEFAULT_SYSTEM
    """What stands before the tools where a conversation has no system message; None: nothing."""

    @property
    def stop(self) -> Sequence[str]:
        return ()

    def write(self, messages: Sequence[Message], tools: Sequence[ToolDefinition]) -> list[Message]:
        """Write several calls as several fences: see `Dialect.write`."""
        return write_turns(
            messages,
            tools,
            default_system=self.default_system,
            instruction=(_INSTRUCTION,),
            write_calls=lambda calls: ["\n".join(f"```json\n{write_call(call)}\n```" for call in calls)],
        )

    def parser(self, tools: Sequence[ToolDefinition]) -> CallParser:
        """Only what names one of the tools is a call, as JSON may be what the user asked for."""
        return CallTextParser(_MARKS, names=frozenset(tool.name for tool in tools))

    def grammar(self, tools: Sequence[ToolDefinition], *, choice: ToolChoice, parallel: bool) -> str:
        """Calls in fences, bare, or in a list, as the model begins them: see `Dialect.grammar`."""
        called = called_tools(tools, choice)
        if not called:
            return f"%llguidance {{}}\nstart: TEXT\nTEXT: ~/{_NO_CALL}/\n"
        more = "(BETWEEN call)* " if parallel and choice in ("auto", "required") else ""
        calls = f"call {more}AFTER"
        start = f"TEXT | lead {calls}" if choice == "auto" else f"{literal(_FORCED)} {calls}"
        rules = [f"lead[lazy]: /{_LEAD}/", f"TEXT: ~/{_NO_CALL}/", f"BETWEEN: /{_BETWEEN}/", f"AFTER: /{_AFTER}/"]
        rules.append(f"call: {' | '.join(f'call_{place}' for place in range(len(called)))}")
        for place, tool in enumerate(called):
            head = json.dumps(tool.name, ensure_ascii=False)[1:] + ', "arguments": '
            rules.append(f'call_{place}: {literal(head)} {arguments(tool)} "}}"')
        return "\n".join(["%llguidance {}", f"start: {start}", *rules, ""])
