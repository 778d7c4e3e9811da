"""The dialect `react-zh`: a prompt in Chinese, which the original does not have.

The names of the lines stay English, as the models were trained to write them.
"""

from __future__ import annotations

from qwen7b.dialects.definition import ToolDefinition
from qwen7b.dialects.react import ReAct, describe_parameters

_INSTRUCTION = """请尽力回答下面的问题。你可以使用以下工具：

{tools}

请严格按照以下格式作答：

Question: 需要你回答的问题
Thought: 思考下一步该做什么
Action: 要使用的工具，只能是 [{names}] 中的一个
Action Input: 传给该工具的参数，写成一个 JSON 对象
Observation: 该工具返回的结果
...（Thought/Action/Action Input/Observation 可以重复零次或多次）
Thought: 我现在知道最终答案了
Final Answer: 对原问题的最终回答

如果不需要工具，请直接写出 Thought 和 Final Answer。

开始！"""


def _describe(tool: ToolDefinition) -> str:
    title = f"（{tool.human_name}）" if tool.human_name and tool.human_name != tool.name else ""
    return f"{tool.name}{title}：{tool.description} 参数：{describe_parameters(tool)}"


REACT_ZH = ReAct(name="react-zh", instruction=_INSTRUCTION, describe=_describe, final_thought="我现在知道最终答案了。")
