"""A Qwen is a chat model of LangChain: conversations, tools, streams and structured output go both ways."""

# mypy: disable-error-code="import-not-found,index,misc,untyped-decorator"

from __future__ import annotations

import asyncio
import functools
import json
from pathlib import Path
from typing import Any

import pytest

import qwen7b
from qwen7b.dialects.tool_call import ToolCallDialect
from qwen7b.errors import PromptError, SettingError
from qwen7b.generate import Qwen
from qwen7b.text.messages import ToolCall
from scripted import ScriptedQwen, call

pytest.importorskip("langchain_core", reason="needs langchain-core")
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from qwen7b.tools.langchain_model import ChatQwen


class Town(BaseModel):
    name: str
    people: int


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def chat(replies: list[Any], **settings: Any) -> tuple[ChatQwen, ScriptedQwen]:
    qwen = ScriptedQwen(replies)
    return ChatQwen(qwen=qwen, **settings), qwen


def test_a_conversation_with_tools_goes_both_ways() -> None:
    model, qwen = chat([["I add. ", call("add", a=1, b=2)], "3"])
    first = model.bind_tools([add], tool_choice="any", parallel_tool_calls=False).invoke(
        [SystemMessage("Be brief."), SystemMessage("Be kind."), HumanMessage("1+2?", name="Bo")]
    )
    assert (first.content, first.invalid_tool_calls) == ("I add. ", [])
    assert first.tool_calls == [{"name": "add", "args": {"a": 1, "b": 2}, "id": "call_1_0", "type": "tool_call"}]
    assert first.usage_metadata == {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    metadata = {"finish_reason": "tool_calls", "model_name": "scripted", "model_provider": "qwen7b"}
    assert first.response_metadata == metadata
    messages, settings = qwen.asked[0]
    assert messages == [
        {"role": "system", "content": "Be brief.\nBe kind."},
        {"role": "user", "content": "1+2?"},
    ]
    (definition,) = settings.pop("tools")
    assert settings == {"tool_choice": "required", "parallel_tool_calls": False}
    assert definition["function"]["name"] == "add"

    result = add.invoke(first.tool_calls[0])
    assert isinstance(result, ToolMessage)
    assert model.invoke([HumanMessage("1+2?"), first, result]).content == "3"
    asked = qwen.asked[1][0]
    assert asked[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1, "b": 2}'}
    assert asked[2] == {"role": "tool", "tool_call_id": "call_1_0", "content": "3"}


def test_settings_of_a_call_go_before_those_of_the_model() -> None:
    model, qwen = chat(["in"], temperature=0, max_tokens=9, stop=["a"], model_kwargs={"dialect": "react-api"})
    model.invoke("hi")
    model.invoke("hi", stop=["b"], max_tokens=5, top_p=0.5)
    own = {"temperature": 0.0, "max_new_tokens": 9, "stop": ["a"], "dialect": "react-api"}
    assert [settings for _, settings in qwen.asked] == [
        own,
        own | {"max_new_tokens": 5, "stop": ["b"], "top_p": 0.5},
    ]
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        ChatQwen(qwen=qwen, **{"temprature": 0})


def test_a_stream_adds_up_to_the_reply() -> None:
    model, _ = chat([["in ", "there ", call("add", a=1, b=2), call("add", a=3, b=4)]])
    chunks = list(model.stream("hi"))
    assert [chunk.content for chunk in chunks] == ["in ", "there ", "", "", ""]
    whole = functools.reduce(AIMessageChunk.__add__, chunks)
    reply = model.invoke("hi")
    assert (whole.content, whole.usage_metadata) == (reply.content, reply.usage_metadata)
    assert [each["args"] for each in whole.tool_calls] == [each["args"] for each in reply.tool_calls]
    assert whole.response_metadata == reply.response_metadata

    async def ask() -> tuple[AIMessage, list[AIMessageChunk]]:
        return await model.ainvoke("hi"), [chunk async for chunk in model.astream("hi")]

    alone, pieces = asyncio.run(ask())
    assert alone.content == "in there " and [piece.content for piece in pieces] == [chunk.content for chunk in chunks]


def test_arguments_that_cannot_be_read_are_an_invalid_call() -> None:
    model, _ = chat([[ToolCall("add", "a=1"), ToolCall("add", "{'a': 1, b: 2}")]])
    reply = model.invoke("hi")
    assert [each["args"] for each in reply.tool_calls] == [{"a": 1, "b": 2}]
    assert reply.invalid_tool_calls[0]["args"] == "a=1" and "cannot be read" in reply.invalid_tool_calls[0]["error"]


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output_is_asked_for_in_each_way(method: str) -> None:
    reply: Any = {"name": "Xining", "people": 2}
    said = [ToolCall("Town", json.dumps(reply))] if method == "function_calling" else json.dumps(reply)
    model, qwen = chat([said])
    assert model.with_structured_output(Town, method=method).invoke("hi") == Town(**reply)
    assert model.with_structured_output(Town.model_json_schema(), method=method).invoke("hi") == reply
    settings = qwen.asked[0][1]
    if method == "json_schema":
        assert settings == {"response_format": Town}
        model.with_structured_output(Town, method=method, strict=False).invoke("hi")
        lenient = qwen.asked[-1][1]["response_format"]["json_schema"]
        assert lenient["strict"] is False and lenient["schema"]["additionalProperties"] is False
    elif method == "json_mode":
        assert settings == {"response_format": {"type": "json_object"}}
    else:
        assert settings["tool_choice"] == "Town" and settings["parallel_tool_calls"] is False
        assert "constrain_calls" not in settings
        model.with_structured_output(Town, strict=True).invoke("hi")
        assert qwen.asked[-1][1]["constrain_calls"] is True


def test_structured_output_that_cannot_be_read_is_told_with_the_raw_reply() -> None:
    model, _ = chat(["Xining"])
    answer = model.with_structured_output(Town, include_raw=True, method="json_schema").invoke("hi")
    assert answer["raw"].content == "Xining" and answer["parsed"] is None
    assert "Xining" in str(answer["parsing_error"])
    with pytest.raises(SettingError, match="'xml'"):
        model.with_structured_output(Town, method="xml")
    with pytest.raises(SettingError, match="'tools'"):
        model.with_structured_output(Town, tools=[])


def test_what_is_no_text_is_refused() -> None:
    tiny: Any = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
    model, qwen = chat([PromptError("only text can be read")])
    with pytest.raises(PromptError, match="only text"):
        model.invoke([HumanMessage(tiny)])
    assert qwen.asked[0][0][0]["content"] == tiny


MARKED = ToolCallDialect(has_control_tokens=False)


@pytest.fixture(scope="module")
def tiny_qwen(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="none", context_length=4096)


def test_a_random_model_calls_validly_and_counts(tiny_qwen: Qwen) -> None:
    model = ChatQwen(
        qwen=tiny_qwen, max_tokens=900, seed=1, temperature=1.0, model_kwargs={"logprobs": 0, "dialect": MARKED}
    )
    bound = model.bind_tools([add, Town], tool_choice="any", strict=True, parallel_tool_calls=False)
    reply = bound.invoke("hello")
    assert {"add": {"a", "b"}, "Town": {"name", "people"}}[reply.tool_calls[0]["name"]] == {
        *reply.tool_calls[0]["args"]
    }
    whole = functools.reduce(AIMessageChunk.__add__, bound.stream("hello"))
    assert whole.tool_calls == reply.tool_calls and whole.usage_metadata == reply.usage_metadata
    assert len(reply.response_metadata["logprobs"]) >= reply.usage_metadata["output_tokens"] - 1
    town = model.with_structured_output(Town).invoke("hello")
    assert isinstance(town, Town)
    assert model.get_num_tokens("the inn") == len(tiny_qwen.tokenizer.encode("the inn"))
    assert [each.content for each in model.batch(["hell", "inn"])] == [
        model.invoke(one).content for one in ("hell", "inn")
    ]
