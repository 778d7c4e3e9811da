"""The dialect `react-zh`: a prompt in Chinese, which the original does not have.

The names of the lines stay English, as the models were trained to write them. What a line should hold is said before
the format and not within it: small models copy what stands there.
"""

from __future__ import annotations

from qwen7b.dialects.definition import ToolDefinition
from qwen7b.dialects.react import ReAct

_INSTRUCTION = """请回答下面的问题。你可以使用以下工具：

{tools}

每一步先写 Thought（思考）；需要工具时，再写 Action（只写工具名，为 [{names}] 之一）和 Action Input\
（JSON 对象形式的参数），随后会得到 Observation（工具返回的结果）。这样的步骤可以重复零次或多次，\
最后写 Final Answer（对问题的最终回答）。格式如下：

Question: 问题
Thought: 思考
Action: 工具名
Action Input: {"参数名": "参数值"}
Observation: 结果
Thought: 我现在知道最终答案了
Final Answer: 最终回答

开始！"""


def _describe(tool: ToolDefinition) -> str:
    title = f"（{tool.human_name}）" if tool.human_name and tool.human_name != tool.name else ""
    return f"{tool.name}{title}：{tool.description} 参数：{tool.written_parameters}"


REACT_ZH = ReAct(name="react-zh", instruction=_INSTRUCTION, describe=_describe, final_thought="我现在知道最终答案了。")
