"""The dialect `react-page`: the prompt of the original's first page on ReAct."""

from __future__ import annotations

from qwen7b.dialects.definition import JSON_HINT, ToolDefinition
from qwen7b.dialects.react import ReAct, describe_in_english
from qwen7b.dialects.react_api import INSTRUCTION


def _describe(tool: ToolDefinition) -> str:
    return f"{describe_in_english(tool)} {JSON_HINT}"


REACT_PAGE = ReAct(
    name="react-page",
    instruction=INSTRUCTION.replace("the following APIs", "the following tools"),
    describe=_describe,
    separator=",",
    whole_replies=True,
)
