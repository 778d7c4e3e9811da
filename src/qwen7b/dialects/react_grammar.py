"""The replies of ReAct as a grammar: free text, and behind it perhaps an action with a tool's name and arguments."""

from __future__ import annotations

from collections.abc import Sequence

from qwen7b.dialects.definition import ToolDefinition
from qwen7b.dialects.dialect import ToolChoice
from qwen7b.dialects.lark import arguments, called_tools, code_rules, literal

_ANSWER = r"ANSWER: /(?s:.*)/ & ~/(?s:.*)\nAction:(?s:.*)/"
_MARKS = ("Action:", "Action Input:", "Observation:")
_MAX_THOUGHT = 500
"""The characters before an action that must come: a model that thinks for ever would never call."""
# What the parsers, or strings that stop a reply, take for another part of it may not stand before the action.
_THOUGHT = r"""THOUGHT: /(?s:.LENGTH)/ & ~/(?s:.*)(\n(Action|Action Input|Final Answer):|Observation:)(?s:.*)/
action[lazy]: THOUGHT "\nAction:"
"""


def write_grammar(tools: Sequence[ToolDefinition], *, choice: ToolChoice, fences_code: bool) -> str:
    """See `Dialect.grammar`. With `fences_code` a tool whose args_format is "code" gets code in a fence."""
    called = called_tools(tools, choice)
    if not called:
        return f"%llguidance {{}}\nstart: ANSWER\n{_ANSWER}\n"
    thought = _THOUGHT.replace("LENGTH", "*" if choice == "auto" else f"{{0,{_MAX_THOUGHT}}}")
    start = ["start: ANSWER | action call", _ANSWER] if choice == "auto" else ["start: action call"]
    rules = [*start, thought, f"call: {' | '.join(f'call_{place}' for place in range(len(called)))}"]
    for place, tool in enumerate(called):
        input = "code" if fences_code and tool.args_format == "code" else arguments(tool)
        head = literal(f" {tool.name}\nAction Input: ")
        rules.append(f"call_{place}: {head} {input}")
    return "\n".join(["%llguidance {}", *rules, code_rules(_MARKS) if fences_code else "", ""])
