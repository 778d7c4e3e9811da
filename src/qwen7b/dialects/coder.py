"""The dialect `coder` of Qwen2.5-Coder, which was trained on no calls, and writes them as it writes code.

    ```json
    [
      {"name": "weather", "arguments": {"city": "Paris"}}
    ]
    ```

    Result:
    ```
    18 degrees
    ```

    Answer: It is 18 degrees in Paris.

Its template is that of Qwen2.5, and asks for <tool_call>, which it never writes. Here it is asked for what it does
write, as a list, since it writes one call where it is shown one. All that it has been seen to write is read: objects
with and without a fence, lists of them, other marks. Results come in its own open turn: behind a user's message, as its
template has them, the smallest of these models makes the same call again and again.
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
from qwen7b.dialects.function_turns import offer_tools
from qwen7b.dialects.lark import arguments, as_pattern, called_tools, literal
from qwen7b.text.messages import Message
from qwen7b.text.tool_calls import ToolCall

_SPACE = r"[ \t\r\n]*"
_FENCE = rf"(?:```[\w-]*[ \t]*\n|<tools>){_SPACE}"
_LIST = rf"(?:\[{_SPACE})?"
_CLOSED = r"(?:\s*+\])?+\s*+(?:```(?![\w-])|</tool_call>|</tools>)"
# An object that may be a call begins in one of these ways, the first with a tool's name behind it.
_NAME_FIRST = rf"""\{{{_SPACE}["']?name["']?{_SPACE}:{_SPACE}["']"""
_ARGUMENTS_FIRST = rf"""\{{{_SPACE}["']?(?:arguments|parameters)["']?{_SPACE}:[ \t]*["'{{]"""
_INSTRUCTION = (
    "Return the function calls as a list of json objects with function name and arguments, one object for each call:\n"
    '```json\n[\n  {"name": <function-name>, "arguments": <args-json-object>}\n]\n```'
)
_ANSWER = "\n\nAnswer:"
_OPEN, _BETWEEN, _CLOSE = "```json\n[\n  ", ",\n  ", "\n]\n```"
_NAME, _ARGUMENTS = '{"name": "', ', "arguments": '
# Where the model need not call, it may begin and go on in its own way.
_LEAD = r'[ \t]*(\[[ \t]*\n?[ \t]*)?\{[ \t]*\n?[ \t]*"name":[ ]?"'
_MORE = r'((\n```)?\n(```json\n)?|,[ \n]?[ ]?[ ]?)\{"name": "'
_END = r"(\n?\])?(\n```)?"


@dataclass(frozen=True, kw_only=True, slots=True)
class CoderDialect:
    """Qwen2.5's prompt, less its marks, and calls in fences of JSON."""

    name: str = "coder"

    @property
    def stop(self) -> Sequence[str]:
        return ()

    def write(self, messages: Sequence[Message], tools: Sequence[ToolDefinition]) -> list[Message]:
        """Write calls as a list, and their results and the answer in the same turn: see `Dialect.write`."""
        written: list[dict[str, str]] = []
        previous = ""
        for message in messages:
            role, content = message["role"], message["content"]
            if calls := message.get("tool_calls"):
                content = (f"{content}\n" if content else "") + _write_calls(calls)
            if role == "tool":
                written[-1]["content"] += _write_result(content)
            elif role == "assistant" and previous == "tool":
                written[-1]["content"] += f"{_ANSWER} {content}"
            else:
                written.append({"role": role, "content": content})
            previous = role
        if previous == "tool":
            written[-1]["content"] += _ANSWER
        return offer_tools(written, tools, instruction=(_INSTRUCTION,))

    def parser(self, tools: Sequence[ToolDefinition]) -> CallParser:
        """Only what names one of the tools is a call, as JSON may be what the user asked for."""
        return CallTextParser(_marks(tools), names=frozenset(tool.name for tool in tools))

    def grammar(self, tools: Sequence[ToolDefinition], *, choice: ToolChoice, parallel: bool) -> str:
        """Calls as `write` makes them, or as the model begins them: see `Dialect.grammar`."""
        called = called_tools(tools, choice)
        if not tools:
            return "%llguidance {}\nstart: /(.|\\n)*/\n"
        several = parallel and choice in ("auto", "required")
        rules = [f"call: {' | '.join(f'call_{place}' for place in range(len(called)))}"] if called else []
        for place, tool in enumerate(called):
            rules.append(f'call_{place}: {literal(_written(tool) + _ARGUMENTS)} {arguments(tool)} "}}"')
        if choice in ("auto", "none"):
            first = f" | lead call {'(MORE call)* ' if several else ''}END" if called else ""
            start = f"(head NAME)* (TEXT | head LAST{first})"
            rules += [*_free_text(tools), f"MORE: /{_MORE}/", f"END: /{_END}/"]
        else:
            more = f"({literal(_BETWEEN + _NAME)} call)* " if several else ""
            start = f"{literal(_OPEN + _NAME)} call {more}{literal(_CLOSE)}"
        return "\n".join(["%llguidance {}", f"start: {start}", *rules, ""])


def _marks(tools: Sequence[ToolDefinition]) -> CallMarks:
    """The marks before what may be a call of one of these tools; a name with a backslash in it may be any."""
    called = rf"""(?={_NAME_FIRST}(?:{_pattern_of_names(tools)}|[^"'\\\n]*\\)|{_ARGUMENTS_FIRST})"""
    return CallMarks(
        opening=regex.compile(rf"(?:\n[ \t]*(?:{_FENCE})?|\n?<tool_call>{_SPACE}){_LIST}{called}"),
        closing=regex.compile(rf"{_CLOSED}|\s*+\]"),
        next=regex.compile(rf"(?:{_CLOSED})?+\s*+(?:(?:{_FENCE}|<tool_call>{_SPACE})?{_LIST}|,\s*){called}"),
    )


def _free_text(tools: Sequence[ToolDefinition]) -> list[str]:
    """The rules of a reply, or of its part before a call, in which the parser finds none.

    TEXT  stops short of an object that may be a call and begins with its name, and has none of the other kind
    lead  is a text up to and into such a name, begun as the model does where it calls; `odd` is any other
    NAME  is the rest of it, which is no tool's name, and of its line; LAST has no next line
    """
    opening = (
        rf"(((.|\n)*\n)?[ \t\r]*(<tools>{_SPACE})?|(.|\n)*<tool_call>{_SPACE}){_LIST}({_NAME_FIRST}|{_ARGUMENTS_FIRST})"
    )
    return [
        # Without its first part it would be any bytes, and those that are no UTF-8 are in no pattern.
        rf"TEXT: /(.|\n)*/ & ~/{opening}(.|\n)*/",
        r"BEFORE: TEXT & /((.|\n)*\n)?/",
        f"lead[lazy]: BEFORE /{_LEAD}/",
        rf"ODD: /[ \t\r]*{_LIST}{_NAME_FIRST}/ & ~/{_LEAD}/",
        "odd[lazy]: BEFORE ODD",
        "head: lead | odd",
        r"NAME: LAST /\n/",
        rf"""LAST: /[^"'\\\n]*(["'].*)?/ & ~/{_pattern_of_names(tools)}.*/ & ~/.*<tool_call>.*/""",
    ]


def _pattern_of_names(tools: Sequence[ToolDefinition]) -> str:
    """A pattern of the tools' names and the quotation mark behind them."""
    return rf"""(?:{"|".join(as_pattern(_written(tool)[:-1]) for tool in tools)})["']"""


def _written(tool: ToolDefinition) -> str:
    """The tool's name and the quotation mark behind it."""
    return json.dumps(tool.name, ensure_ascii=False)[1:]


def _write_calls(calls: Sequence[ToolCall]) -> str:
    return _OPEN + _BETWEEN.join(map(write_call, calls)) + _CLOSE


def _write_result(result: str) -> str:
    fence = "```"
    while fence in result:
        fence += "`"
    return f"\n\nResult:\n{fence}\n{result}\n{fence}"
