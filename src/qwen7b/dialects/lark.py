"""The parts of dialects' grammars, in llguidance's variant of Lark.

https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from qwen7b.dialects.definition import ToolDefinition
from qwen7b.dialects.dialect import ToolChoice
from qwen7b.dialects.masked_schema import write_masked_schema
from qwen7b.errors import SettingError, quoted
from qwen7b.text.rendered import Control

_OPENING_KEYS = {
    "additionalProperties",
    "patternProperties",
    "unevaluatedProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "$ref",
}


def called_tools(tools: Sequence[ToolDefinition], choice: ToolChoice) -> list[ToolDefinition]:
    """The tools that a reply may call. Raises SettingError for a choice that they do not offer."""
    if choice in ("auto", "required"):
        if choice == "required" and not tools:
            raise SettingError("a call is required, and there are no tools: give some, or leave the choice at 'auto'")
        return [*tools]
    called = [tool for tool in tools if tool.name == choice]
    if choice != "none" and not called:
        names = ", ".join(tool.name for tool in tools) or "none"
        raise SettingError(f"the tool that is to be called is {quoted(choice)}, and the tools are: {names}")
    return called


def call_grammar(
    tools: Sequence[ToolDefinition],
    call: Callable[[ToolDefinition], str],
    *,
    mark: str,
    between: str,
    choice: ToolChoice,
    parallel: bool,
) -> str:
    """A grammar of replies: free text up to the first mark, where the choice is "auto", then nothing but calls.

    call     the right side of a rule for a call of this tool, from behind its mark
    mark     what stands before every call, and so nowhere in the free text: a `Control` or a string
    between  the text that stands between a call and the next mark
    """
    called = called_tools(tools, choice)
    pattern = as_pattern(mark)
    # The last of these ends a text as soon as the mark is there, whatever else might go on from it.
    rules = [f"TEXT: /(.|\\n)*/ & ~/(.|\\n)*{pattern}(.|\\n)*/", f"text_with_mark[lazy]: /(.|\\n)*{pattern}/"]
    written_mark, lead = (mark, f"TEXT {mark}") if isinstance(mark, Control) else (literal(mark), "text_with_mark")
    more = f"({literal(between)} {written_mark} call)*" if parallel and choice in ("auto", "required") else ""
    if not called:
        start = "TEXT"
    elif choice == "auto":
        start = f"TEXT | {lead} call {more}"
    else:
        start = f"{written_mark} call {more}"
    rules += [f"call: {' | '.join(f'call_{place}' for place in range(len(called)))}"] if called else []
    rules += [f"call_{place}: {call(tool)}" for place, tool in enumerate(called)]
    return "\n".join(["%llguidance {}", f"start: {start}", *rules, ""])


def code_rules(marks: Sequence[str]) -> str:
    """The rules of `code` in a fence, which models write with the line break behind it as one token.

    No line of it begins with one of the marks, which parsers take for what follows the code.
    """
    marked = "|".join(map(as_pattern, ("```", *marks)))
    return f"""code: "```" /[a-z0-9]*/ "\\n" code_end "\\n"?
CODE: /(?s:.*)/ & ~/((?s:.*)\\n)?({marked})(?s:.*)/
code_end[lazy]: CODE "\\n```"
"""


def literal(text: str) -> str:
    """A text as a string of the grammar."""
    return json.dumps(text, ensure_ascii=False)


def as_pattern(text: str) -> str:
    """A text as a part of a regular expression of the grammar."""
    return re.escape(text).replace("/", "\\/")


def arguments(tool: ToolDefinition) -> str:
    """A JSON object that satisfies the tool's schema.

    A schema that lists properties and does not say whether others may join them is taken to mean that they may not.
    """
    schema = {**tool.schema, "type": "object", "nullable": False}
    if "properties" in schema and not _OPENING_KEYS & schema.keys():
        schema["additionalProperties"] = False
    return f"%json {write_masked_schema(schema, knows_nullable=True)}"
