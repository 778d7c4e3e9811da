"""A Qwen is a model of smolagents: its CodeAgent and its ToolCallingAgent run on it."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator"

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import qwen7b
from qwen7b.dialects.tool_call import ToolCallDialect
from qwen7b.errors import PromptError, SettingError
from qwen7b.generate import Usage
from scripted import ScriptedQwen, call

pytest.importorskip("smolagents", reason="needs smolagents")
from smolagents import CodeAgent, ToolCallingAgent, tool
from smolagents.models import CODEAGENT_RESPONSE_FORMAT, ChatMessage, MessageRole, agglomerate_stream_deltas

from qwen7b.tools.smolagents_model import SmolagentsModel


@tool
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first
        b: The second
    """
    return a + b


def scripted(replies: list[Any], **settings: Any) -> tuple[SmolagentsModel, ScriptedQwen]:
    qwen: Any = ScriptedQwen(replies)
    return SmolagentsModel(qwen, **settings), qwen


def said(text: str) -> list[Any]:
    return [ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": text}])]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_calling_agent_runs(stream: bool) -> None:
    model, qwen = scripted([call("add", a=17, b=25), call("final_answer", answer="42")], temperature=0)
    agent = ToolCallingAgent(tools=[add], model=model, stream_outputs=stream, verbosity_level=0)
    result = agent.run("17+25?", return_full_result=True)
    assert result.output == "42" and result.token_usage.input_tokens == 14
    messages, settings = qwen.asked[0]
    assert [message["role"] for message in messages] == ["system", "user"]
    assert settings["tool_choice"] == "required" and settings["temperature"] == 0
    assert settings["stop"] == ["Observation:", "Calling tools:"]
    names = [definition["function"]["name"] for definition in settings["tools"]]
    assert names == ["add", "final_answer"]
    asked = qwen.asked[1][0]
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "user"]
    assert "Observation:\n42" in asked[-1]["content"][0]["text"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_code_agent_runs(stream: bool) -> None:
    model, qwen = scripted([["Let me see.\n<code>\nprint(17", " + 25)\n"], "<code>\nfinal_answer(42)\n"])
    agent = CodeAgent(tools=[], model=model, stream_outputs=stream, verbosity_level=0)
    assert agent.run("17+25?") == 42
    assert qwen.asked[0][1] == {"stop": ["Observation:", "Calling tools:", "</code>"]}
    assert "42" in agent.memory.steps[1].observations


def test_a_code_agent_asks_for_json() -> None:
    model, qwen = scripted(['{"thought": "Easy.", "code": "final_answer(17 + 25)"}'])
    agent = CodeAgent(tools=[], model=model, use_structured_outputs_internally=True, verbosity_level=0)
    assert agent.run("17+25?") == 42
    assert qwen.asked[0][1]["response_format"] == CODEAGENT_RESPONSE_FORMAT


def test_ctrl_c_ends_a_run() -> None:
    model, qwen = scripted([["<code>\npri", KeyboardInterrupt()]])
    with pytest.raises(KeyboardInterrupt):
        CodeAgent(tools=[], model=model, verbosity_level=0).run("17+25?")
    assert len(qwen.asked) == 1


def test_settings_of_the_model_go_before_those_of_an_agent() -> None:
    model, qwen = scripted(["in"], max_tokens=9, stop=["a"])
    model(said("hi"), stop_sequences=["b"], max_tokens=5)
    assert qwen.asked[0][1] == {"max_new_tokens": 9, "stop": ["a"]}
    with pytest.raises(SettingError, match="given twice"):
        model(said("hi"), max_new_tokens=5)


def test_a_saved_agent_has_its_model_again(tiny_chat_checkpoint: Path) -> None:
    model = SmolagentsModel(qwen7b.load(tiny_chat_checkpoint), max_new_tokens=3)
    again = SmolagentsModel.from_dict(model.to_dict())
    assert again.to_dict() == model.to_dict()
    assert again(said("hello")).content == model(said("hello")).content


def test_a_random_model_calls_validly_alone_and_in_a_stream(tiny_chat_checkpoint: Path) -> None:
    qwen = qwen7b.load(tiny_chat_checkpoint, quantize="none", context_length=4096)
    dialect = ToolCallDialect(has_control_tokens=False)
    model = SmolagentsModel(qwen, dialect=dialect, max_new_tokens=900, temperature=1.0, seed=1)
    reply = model.generate(said("hello"), tools_to_call_from=[add])
    for made in reply.tool_calls:
        assert made.function.name == "add" and '"a": ' in made.function.arguments
    streamed = agglomerate_stream_deltas([*model.generate_stream(said("hello"), tools_to_call_from=[add])])
    assert (streamed.content, streamed.tool_calls, streamed.token_usage) == (
        reply.content,
        reply.tool_calls,
        reply.token_usage,
    )
    usage = Usage(prompt_tokens=reply.token_usage.input_tokens, completion_tokens=reply.token_usage.output_tokens)
    assert usage == reply.raw.usage
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with pytest.raises(PromptError, match="only text"):
        model([ChatMessage(role=MessageRole.USER, content=image)])
