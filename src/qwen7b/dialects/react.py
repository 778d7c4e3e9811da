"""ReAct: thoughts, actions and observations, as lines of one assistant's message.

    Thought: I should look up the weather.
    Action: weather
    Action Input: {"city": "Lanzhou"}
    Observation: 12 °C
    Thought: I now know the final answer.
    Final Answer: It is mild.

The model writes up to the action's input; "Observation:" stops it, and the message goes on with the tool's result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qwen7b.dialects.definition import ToolDefinition
from qwen7b.dialects.dialect import CallParser, ToolChoice
from qwen7b.dialects.react_grammar import write_grammar
from qwen7b.dialects.react_parsing import FirstCallParser, LastCallParser
from qwen7b.text.messages import Message, ToolCall

_LINE_BREAK = re.compile(r"\n(?=(Question|Thought|Action|Action Input|Observation|Final Answer):)")
"""The line break before what is a line of ReAct's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReAct:
    """ReAct with one of the prompts for it, and by the rules of the original's server or of its demo.

    By the server's rules (`whole_replies` false) a message's content is what the reply answers: earlier answers get
    their thought and "Final Answer:" back, and of a reply with several actions the first counts. By the demo's a
    content is the whole reply, as the model wrote it, and the last action counts.
    """

    name: str
    instruction: str
    """The prompt before the question; {tools} and {names} are replaced."""
    describe: Callable[[ToolDefinition], str]
    separator: str = ", "
    """What stands between tools' names."""
    final_thought: str = "I now know the final answer."
    whole_replies: bool = False
    fences_code: bool = False
    """Whether `describe` asks for code in a fence where a tool's args_format is "code"."""

    @property
    def stop(self) -> Sequence[str]:
        """Both are needed where strings are compared as tokens: the newline makes another one of the colon."""
        return ("Observation:", "Observation:\n")

    def write(self, messages: Sequence[Message], tools: Sequence[ToolDefinition]) -> list[Message]:
        """Write each turn as a user's and an assistant's message; a result at the end leaves the latter open."""
        written: list[dict[str, Any]] = []
        previous = ""
        for message in messages:
            role, content = message["role"], message["content"]
            if role in ("system", "user"):
                written.append({"role": role, "content": content})
            else:
                if role == "tool":
                    text = ("Thought: \n" if previous == "tool" else "") + _write_action(message["call"], content)
                elif "tool_calls" in message:  # which stand with their results
                    text = _with_thought(_trim(content))
                else:
                    text = self._write_answer(_trim(content), after_result=previous == "tool", offered=bool(tools))
                if written[-1]["role"] == "assistant":
                    written[-1]["content"] += "\n" + text
                else:
                    written.append({"role": "assistant", "content": text})
            previous = role
        if previous == "tool":
            written[-1]["content"] += "\nThought:"
        if tools:
            asking = written[self._place(written)]
            question = asking["content"] if self.whole_replies else _trim(asking["content"])
            asking["content"] = f"{self._instruct(tools)}\n\nQuestion: {question}"
        return [{**message, "content": _trim(message["content"])} for message in written]

    def parser(self, tools: Sequence[ToolDefinition]) -> CallParser:
        return LastCallParser() if self.whole_replies else FirstCallParser()

    def grammar(self, tools: Sequence[ToolDefinition], *, choice: ToolChoice, parallel: bool) -> str:
        """One call at most, since its result follows at once, whether or not calls may be `parallel`.

        No reply goes on behind its call, so that `stop`, which an argument may contain, is not needed.
        """
        return write_grammar(tools, choice=choice, fences_code=self.fences_code)

    def _instruct(self, tools: Sequence[ToolDefinition]) -> str:
        names = self.separator.join(tool.name for tool in tools)
        head, rest = self.instruction.split("{tools}")
        middle, tail = rest.split("{names}")
        return head + "\n\n".join(map(self.describe, tools)) + middle + names + tail

    def _place(self, written: Sequence[Message]) -> int:
        """Where the message is that the tools are described in: the last that was answered, or begins to be.

        The demo takes the second-to-last. Where there is none the only one is left.
        """
        users = [place for place, message in enumerate(written) if message["role"] == "user"]
        if self.whole_replies:
            return users[-2:][0]
        answered = [place for place in users if written[place + 1 :][:1] and written[place + 1]["role"] == "assistant"]
        return (answered or users)[-1]

    def _write_answer(self, content: str, *, after_result: bool, offered: bool) -> str:
        if self.whole_replies and (not after_result or "Final Answer:" in content):
            return _with_thought(content.lstrip()) if after_result else content
        if offered or after_result:
            return f"Thought: {self.final_thought}\nFinal Answer: {content}"
        return content


def describe_in_english(tool: ToolDefinition) -> str:
    """What the original says of a tool, on one line."""
    human_name = tool.human_name or tool.name
    return (
        f"{tool.name}: Call this tool to interact with the {human_name} API. What is the {human_name} API useful for? "
        f"{tool.description} Parameters: {tool.written_parameters}"
    )


def _write_action(call: ToolCall, result: str) -> str:
    input, seen = (_LINE_BREAK.sub("\n ", text) for text in (call.arguments.strip(), _trim(result)))
    return f"Action: {call.name.strip()}\nAction Input: {input}\nObservation: {seen}"  # with no other action in them


def _with_thought(content: str) -> str:
    return content if content.startswith("Thought:") else f"Thought: {content}"


def _trim(content: str) -> str:
    """A content as training had it."""
    return content.lstrip("\n").rstrip()
