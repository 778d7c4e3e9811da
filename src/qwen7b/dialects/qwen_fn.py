"""The dialect `qwen-fn`, on which Qwen2 was trained, and which Qwen-Agent writes for any model.

    ✿FUNCTION✿: weather
    ✿ARGS✿: {"city": "Paris"}
    ✿RESULT✿: 18 degrees
    ✿RETURN✿: It is 18 degrees in Paris.

All of it is one message of the assistant, as in ReAct: the model writes a call, the result is put in, and it goes on
behind ✿RETURN✿ with ": " and its answer. https://github.com/QwenLM/Qwen-Agent
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qwen7b.dialects.definition import CODE_HINT, JSON_HINT, ToolDefinition
from qwen7b.dialects.dialect import CallParser, ToolChoice
from qwen7b.dialects.json_scan import is_whole_object
from qwen7b.dialects.lark import arguments, call_grammar, code_rules, literal
from qwen7b.dialects.marks import find_first
from qwen7b.dialects.qwen_fn_parsing import ARGS, FLOWER, FUNCTION, MARKS, RESULT, RETURN, QwenFnParser
from qwen7b.errors import SettingError, quoted
from qwen7b.text.messages import Message
from qwen7b.text.tool_calls import ToolCall

_CHINESE = re.compile("[\u4e00-\u9fff]")

_MARK = re.compile(f"{FLOWER}(?=(FUNCTION|ARGS|RESULT|RETURN){FLOWER})")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wording:
    """What is said of tools in one language."""

    head: str
    tool: str
    json: str
    code: str
    one_by_one: str
    parallel: str


_WORDINGS = {
    "en": _Wording(
        head="# Tools\n\n## You have access to the following tools:\n\n{tools}\n\n",
        tool="### {human_name}\n\n{name}: {description} Parameters: {parameters} {format}",
        json=JSON_HINT,
        code=CODE_HINT,
        one_by_one=(
            "## When you need to call a tool, please insert the following command in your reply, which can be called "
            f"zero or multiple times according to your needs:\n\n{FUNCTION} The tool to use, should be one of "
            f"[{{names}}]\n{ARGS} The input of the tool\n{RESULT}: Tool results\n"
            f"{RETURN}: Reply based on tool results. Images need to be rendered as ![](url)"
        ),
        parallel=(
            "## Insert the following command in your reply when you need to call N tools in parallel:\n\n"
            f"{FUNCTION} The name of tool 1, should be one of [{{names}}]\n{ARGS} The input of tool 1\n"
            f"{FUNCTION} The name of tool 2\n{ARGS} The input of tool 2\n...\n"
            f"{FUNCTION} The name of tool N\n{ARGS} The input of tool N\n"
            f"{RESULT}: The result of tool 1\n{RESULT}: The result of tool 2\n...\n{RESULT}: The result of tool N\n"
            f"{RETURN}: Reply based on tool results. Images need to be rendered as ![](url)"
        ),
    ),
    "zh": _Wording(
        head="# 工具\n\n## 你拥有如下工具：\n\n{tools}\n\n",
        tool="### {human_name}\n\n{name}: {description} 输入参数：{parameters} {format}",
        json="此工具的输入应为JSON对象。",
        code="此工具的输入应为Markdown代码块。",
        one_by_one=(
            f"## 你可以在回复中插入零次、一次或多次以下命令以调用工具：\n\n"
            f"{FUNCTION} 工具名称，必须是[{{names}}]之一。\n{ARGS} 工具输入\n"
            f"{RESULT}: 工具结果\n{RETURN}: 根据工具结果进行回复，需将图片用![](url)渲染出来"
        ),
        parallel=(
            f"## 你可以在回复中插入以下命令以并行调用N个工具：\n\n{FUNCTION} 工具1的名称，必须是[{{names}}]之一\n"
            f"{ARGS} 工具1的输入\n{FUNCTION} 工具2的名称\n{ARGS} 工具2的输入\n...\n{FUNCTION} 工具N的名称\n"
            f"{ARGS} 工具N的输入\n{RESULT}: 工具1的结果\n{RESULT}: 工具2的结果\n...\n{RESULT}: 工具N的结果\n"
            f"{RETURN}: 根据工具结果进行回复，需将图片用![](url)渲染出来"
        ),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class QwenFnDialect:
    """Qwen-Agent's prompt and calls."""

    name: str = "qwen-fn"
    language: Literal["en", "zh"] | None = None
    """The language that tools are described in; None: Chinese where the system message or the user writes it."""
    parallel: bool = False
    """Whether the prompt asks for several calls at once; several are read either way."""

    @property
    def stop(self) -> Sequence[str]:
        return (RESULT, RETURN)

    def write(self, messages: Sequence[Message], tools: Sequence[ToolDefinition]) -> list[Message]:
        """Write calls, their results and the answer as one message of the assistant: see `Dialect.write`."""
        written: list[dict[str, Any]] = []
        for message in messages:
            role, content = message["role"], message["content"]
            if role in ("system", "user"):
                written.append({"role": role, "content": content})
                continue
            if written[-1]["role"] != "assistant":
                written.append({"role": "assistant", "content": ""})
            said = written[-1]["content"]
            if role == "tool":
                result = _MARK.sub(f"{FLOWER} ", content)  # so that none is read as a call
                written[-1]["content"] = f"{said.removesuffix(_GO_ON)}\n{RESULT}: {result}{_GO_ON}"
                continue
            parts = [said + content, *map(_write_call, message.get("tool_calls") or ())]
            written[-1]["content"] = "\n".join(parts[not parts[0] :])
        if messages[-1]["role"] == "tool":
            # The colon may be one token with what the model writes behind it.
            written[-1]["content"] = written[-1]["content"].removesuffix(": ")
        if not tools:
            return [*written]
        for tool in tools:
            if mark := find_first(tool.name, MARKS)[1]:
                raise SettingError(f"the tool {quoted(tool.name)} has {mark} in its name, which marks calls: rename it")
        system = self._write_system(messages, tools)
        if written[0]["role"] == "system":
            system = f"{written.pop(0)['content']}\n\n{system}"
        return [{"role": "system", "content": system}, *written]

    def parser(self, tools: Sequence[ToolDefinition]) -> CallParser:
        """A call is what is marked, and has arguments or names a tool."""
        return QwenFnParser(names=frozenset(tool.name for tool in tools))

    def grammar(self, tools: Sequence[ToolDefinition], *, choice: ToolChoice, parallel: bool) -> str:
        """Calls with a JSON object each, or code in a fence where a tool takes that."""

        def call(tool: ToolDefinition) -> str:
            head = f" {tool.name}\n{ARGS} " + ("\n" if tool.takes_code else "")
            return f"{literal(head)} {'code' if tool.takes_code else arguments(tool)}"

        return call_grammar(tools, call, mark=FUNCTION, between="\n", choice=choice, parallel=parallel) + code_rules(
            MARKS
        )

    def _write_system(self, messages: Sequence[Message], tools: Sequence[ToolDefinition]) -> str:
        said = (message["content"] for message in messages if message["role"] in ("system", "user"))
        words = _WORDINGS[self.language or ("zh" if any(map(_CHINESE.search, said)) else "en")]
        described = "\n\n".join(_describe(tool, words) for tool in tools)
        names = ",".join(tool.name for tool in tools)
        command = words.parallel if self.parallel else words.one_by_one
        return words.head.replace("{tools}", described) + command.replace("{names}", names)


_GO_ON = f"\n{RETURN}: "


def _describe(tool: ToolDefinition, words: _Wording) -> str:
    return words.tool.format(
        human_name=tool.human_name or tool.name,
        name=tool.name,
        description=tool.description,
        parameters=tool.written_parameters,
        format=words.code if tool.takes_code else words.json,
    )


def _write_call(call: ToolCall) -> str:
    given = call.arguments.strip()
    if is_whole_object(given):
        given = given.replace(FLOWER, f"\\u{ord(FLOWER):04x}")  # so that no argument is a mark
    given = _MARK.sub(f"{FLOWER} ", given)
    return f"{FUNCTION} {call.name}\n{ARGS} {chr(10) if given.startswith('```') else ''}{given}"
