"""The dialect `react-demo`: the prompt of the original's demo, with a hint on the arguments behind each tool."""

from __future__ import annotations

from qwen7b.dialects.definition import CODE_HINT, JSON_HINT, ToolDefinition
from qwen7b.dialects.react import ReAct, describe_in_english
from qwen7b.dialects.react_api import INSTRUCTION


def _describe(tool: ToolDefinition) -> str:
    return f"{describe_in_english(tool)} {CODE_HINT if tool.args_format == 'code' else JSON_HINT}"


REACT_DEMO = ReAct(name="react-demo", instruction=INSTRUCTION, describe=_describe, whole_replies=True, fences_code=True)
