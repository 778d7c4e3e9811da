"""A Qwen is a chat model of Qwen-Agent: its ReActChat, its Assistant's templates and its raw interface run on it."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator"

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

import qwen7b
from qwen7b.errors import SettingError
from scripted import ScriptedQwen, call
from talking import assistant, user

pytest.importorskip("qwen_agent", reason="needs qwen-agent")
pytest.importorskip("soundfile", reason="needs soundfile, which qwen-agent imports and does not ask for")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    from qwen_agent.agents import FnCallAgent, ReActChat
    from qwen_agent.llm import get_chat_model
    from qwen_agent.tools.base import BaseTool

from qwen7b.tools.qwen_agent_model import QwenAgentModel

ARGUMENTS = '{"a": 17, "b": 25}'


class Add(BaseTool):
    name = "add"
    description = "Add two numbers"
    parameters = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    }

    def call(self, params: Any, **kwargs: Any) -> str:
        given = json.loads(params)
        return str(given["a"] + given["b"])


def model(replies: list[Any], **generate_cfg: Any) -> tuple[QwenAgentModel, Any]:
    qwen = ScriptedQwen(replies)
    cfg = {"model_type": "qwen7b", "qwen": qwen, "generate_cfg": {"seed": 1, **generate_cfg}}
    made = get_chat_model(cfg)
    assert isinstance(made, QwenAgentModel)
    return made, qwen


def last(answers: Any) -> list[Any]:
    *_, answer = answers
    return list(answer)


def test_react_chat_runs() -> None:
    replies = [["I add.\nAction: add\n", f"Action Input: {ARGUMENTS}\n"], "I know.\nFinal Answer: 42"]
    llm, qwen = model(replies, max_tokens=99)
    answer = last(ReActChat(llm=llm, function_list=[Add()]).run([user("17+25?")]))
    assert answer[0]["content"].endswith("Observation: 42\nThought: I know.\nFinal Answer: 42")
    messages, settings = qwen.asked[1]
    assert messages[0]["content"].endswith(f"Action: add\nAction Input: {ARGUMENTS}\nObservation: 42\nThought: ")
    assert settings == {"seed": 1, "max_new_tokens": 99, "stop": ["Observation:", "Observation:\n"]}


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("nous", '<tool_call>\n{"name": "add", "arguments": %s}\n</tool_call>'),
        ("qwen", "✿FUNCTION✿: add\n✿ARGS✿: %s\n"),
    ],
)
def test_its_templates_call_and_go_on(template: str, written: str) -> None:
    llm, qwen = model([["I add.\n", written % ARGUMENTS], "It is 42."], fncall_prompt_type=template)
    answer = last(FnCallAgent(llm=llm, function_list=[Add()]).run([user("17+25?")]))
    assert [message["role"] for message in answer] == ["assistant", "assistant", "function", "assistant"]
    assert answer[1]["function_call"] == {"name": "add", "arguments": ARGUMENTS}
    assert (answer[2]["content"], answer[3]["content"]) == ("42", "It is 42.")
    messages, settings = qwen.asked[1]
    assert "tools" not in settings and messages[0]["role"] == "system"
    # Qwen's own template lets the model go on with its message, which services cannot; so no user repeats it.
    assert messages[-1]["role"] == ("assistant" if template == "qwen" else "user")


def test_the_model_s_own_dialect_calls() -> None:
    llm, qwen = model([["I add.", call("add", a=17, b=25), call("add", a=1, b=2)], "42 and 3."], use_raw_api=True)
    answer = last(FnCallAgent(llm=llm, function_list=[Add()]).run([user("17+25, 1+2?")]))
    assert [message.get("content") for message in answer] == ["I add.", "", "", "42", "3", "42 and 3."]
    messages, settings = qwen.asked[1]
    assert settings["tools"][0]["function"]["name"] == "add"
    calls = messages[1]["tool_calls"]
    assert messages[1]["content"] == "I add." and [each["function"]["name"] for each in calls] == ["add", "add"]
    assert messages[2:] == [{"role": "function", "name": "add", "content": text} for text in ("42", "3")]


def test_a_choice_is_one_of_the_model_s_own() -> None:
    llm, qwen = model([call("add", a=1, b=2)], use_raw_api=True)
    choice = {"function_choice": "add", "parallel_function_calls": False}
    answers = llm.chat([user("1+2?")], functions=[Add().function], extra_generate_cfg=choice)
    assert last(answers)[0]["function_call"]["arguments"] == '{"a": 1, "b": 2}'
    settings = qwen.asked[0][1]
    assert settings["tool_choice"] == "add" and settings["parallel_tool_calls"] is False


def test_replies_come_whole_and_growing() -> None:
    llm, qwen = model([["in ", "there"]])
    assert llm.quick_chat("hi") == "in there"
    assert [one[0]["content"] for one in llm.chat([user("hi")])][:2] == ["in ", "in there"]
    assert [one[0]["content"] for one in llm.chat([user("hi")], delta_stream=True)][:2] == ["in ", "there"]
    assert llm.chat([user("hi"), assistant("in")], stream=False)[0]["content"] == "in there"
    assert qwen.asked[-1][0] == [user("hi"), assistant("in")]


def test_a_greedy_reply_has_no_seed_but_the_user_s() -> None:
    llm, qwen = model(["in"], temperature=0)
    llm.quick_chat("hi")
    del llm.generate_cfg["seed"]
    llm.quick_chat("hi")
    assert [settings for _, settings in qwen.asked] == [{"temperature": 0, "seed": 1}, {"temperature": 0}]


def test_ctrl_c_ends_a_run() -> None:
    llm, qwen = model([["I add.\nAct", KeyboardInterrupt()]])
    with pytest.raises(KeyboardInterrupt):
        last(ReActChat(llm=llm, function_list=[Add()]).run([user("17+25?")]))
    assert len(qwen.asked) == 1


def test_a_model_is_loaded_by_its_name(tiny_chat_checkpoint: Path) -> None:
    llm = get_chat_model({"model_type": "qwen7b", "model": str(tiny_chat_checkpoint), "generate_cfg": {"seed": 1}})
    expected = qwen7b.load(tiny_chat_checkpoint).chat("hello", seed=1)
    assert llm.chat([user("hello")], stream=False)[0]["content"] == expected.text


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(SettingError, match="has no model_server"):
        QwenAgentModel({"qwen": None, "model_server": "dashscope"})
    for cfg in ({}, {"qwen": None, "model": "demo"}):
        with pytest.raises(SettingError, match="'qwen', which is loaded, or by its name"):
            QwenAgentModel(cfg)
