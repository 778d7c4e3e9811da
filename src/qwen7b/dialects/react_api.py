"""The dialect `react-api`: the prompt of the original's OpenAI-like server, which first-generation Qwen knows best."""

from __future__ import annotations

from qwen7b.dialects.react import ReAct, describe_in_english

INSTRUCTION = """Answer the following questions as best you can. You have access to the following APIs:

{tools}

Use the following format:

Question: the input question you must answer
Thought: you should always think about what to do
Action: the action to take, should be one of [{names}]
Action Input: the input to the action
Observation: the result of the action
... (this Thought/Action/Action Input/Observation can be repeated zero or more times)
Thought: I now know the final answer
Final Answer: the final answer to the original input question

Begin!"""

REACT_API = ReAct(name="react-api", instruction=INSTRUCTION, describe=describe_in_english)
