"""Conversations in which tools are called: OpenAI's messages and the original's in one form, and what makes none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qwen7b.errors import PromptError
from qwen7b.text import Tokenizer, chat_prompt
from qwen7b.text.messages import ToolCall, checked_messages, read_messages, split_turns

Messages = list[dict[str, Any]]
ASK: dict[str, Any] = {"role": "user", "content": "?"}


def calling(*calls: Any, **others: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [*calls], **others}


def call(name: str, arguments: Any = "{}", id: Any = None) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(content: Any, id: str | None = None, **others: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": id, **others}


def test_both_forms_are_read_into_one() -> None:
    openai = [ASK, calling(call("now", "{}", "a")), result("12:00", "a"), ASK]
    original = [
        ASK,
        {"role": "assistant", "content": "", "function_call": {"name": "now", "arguments": "{}"}},
        {"role": "function", "name": "now", "content": "12:00"},
        ASK,
    ]
    for messages, made in ((openai, ToolCall("now", "{}", "a")), (original, ToolCall("now", "{}"))):
        assert read_messages(messages) == [
            ASK,
            {"role": "assistant", "content": "", "tool_calls": (made,)},
            {"role": "tool", "content": "12:00", "call": made},
            ASK,
        ]


def test_what_was_read_is_read_again_as_it_is() -> None:
    read = read_messages(
        [ASK, calling(call("a"), call("a"), call("b")), result("1"), result("3", name="b"), result("2")]
    )
    assert [message["content"] for message in read[2:]] == ["1", "2", "3"]
    assert read_messages(read) == read


def test_results_stand_in_the_order_of_their_calls() -> None:
    calls = [call("f", "1", "x"), call("g", "2", "y"), call("f", "3", "z")]
    read = read_messages([ASK, calling(*calls), result("third", "z"), result("first", "x"), result("second", "y")])
    assert [message["content"] for message in read[2:]] == ["first", "second", "third"]
    assert [message["call"].id for message in read[2:]] == ["x", "y", "z"]


def test_results_without_an_id_answer_by_name_or_else_in_order() -> None:
    read = read_messages(
        [ASK, calling(call("f"), call("g"), call("f")), result("g1", name="g"), result("f1"), result("f2")]
    )
    assert [(message["call"].name, message["content"]) for message in read[2:]] == [
        ("f", "f1"),
        ("g", "g1"),
        ("f", "f2"),
    ]


def test_arguments_and_contents_come_in_several_forms() -> None:
    parts = [{"type": "text", "text": "Let me "}, {"type": "text", "text": "see."}]
    bare = {"name": "b", "arguments": {"市": ["西宁", None]}}
    read = read_messages([ASK, calling(call("a", None), bare, content=parts), result([*parts]), result("")])
    assert read[1]["content"] == read[2]["content"] == "Let me see."
    assert read[1]["tool_calls"] == (ToolCall("a", "{}"), ToolCall("b", '{"市": ["西宁", null]}'))
    assert json.loads(read[1]["tool_calls"][1].arguments) == bare["arguments"]


def test_fields_that_other_programs_leave_empty_mean_nothing() -> None:
    empty: dict[str, Any] = {"role": "assistant", "content": "Hi.", "tool_calls": [], "function_call": None}
    assert read_messages([ASK, empty]) == [ASK, {"role": "assistant", "content": "Hi."}]


def test_a_call_and_its_result_are_in_one_turn() -> None:
    answered = [ASK, calling(call("now")), result("12"), {"role": "assistant", "content": "Noon."}]
    conversation = split_turns([*answered, ASK, calling(call("now")), result("13")])
    assert conversation.has_calls and conversation.system is None
    assert [[message["role"] for message in turn] for turn in conversation.turns] == [
        ["user", "assistant", "tool", "assistant"],
        ["user", "assistant", "tool"],
    ]


NOW = call("now", "{}", "a")
BAD: list[tuple[Messages, str]] = [
    ([ASK, result("x")], "message 2 is a tool's result, and no call waits for one"),
    ([ASK, {"role": "function", "name": "now", "content": "x"}], "message 2 is a tool's result"),
    ([ASK, calling(NOW), result("x", "a"), result("x", "a")], "message 4 is a tool's result, and no call waits"),
    ([ASK, calling(NOW)], r"the call of now \(id 'a'\) has no result before the end"),
    ([ASK, calling(call("now")), ASK], "the call of now has no result before message 3"),
    ([ASK, calling(NOW, call("f")), result("x", "a"), ASK], "the call of f has no result before message 4"),
    ([ASK, calling(NOW), calling(NOW)], r"the call of now \(id 'a'\) has no result before message 3"),
    ([ASK, calling(NOW), result("x", "b")], r"message 3 answers a call with the id 'b', .* are: 'a' \(now\)"),
    ([ASK, calling(NOW), result("x", "a", name="f")], "message 3 answers a call with the id 'a' and the name 'f'"),
    ([ASK, calling(call("now")), result("x", name="then")], "with the name 'then', .* are: now"),
    ([ASK, calling(NOW, NOW)], "message 2 has 2 calls with the id 'a'"),
    ([ASK, calling(NOW, function_call=NOW)], "message 2 has both 'tool_calls' and 'function_call'"),
    ([ASK, {**ASK, "tool_calls": [NOW]}], "message 2 should have exactly a 'role' and a 'content'"),
    ([ASK, {"role": "assistant", "content": None}], "message 2 has None for content"),
    ([ASK, {"role": "assistant"}], "message 2 should have exactly"),
    ([ASK, calling(NOW), result(None, "a")], "message 3 has None for content"),
    ([ASK, calling(NOW), result({"t": 1}, "a")], "message 3 has {'t': 1} for content"),
    ([ASK, calling(NOW), result([{"type": "image_url"}], "a")], "message 3 has the part 'image_url'"),
    ([ASK, calling(NOW), {"role": "tool", "content": "x", "tool_call_id": 3}], "message 3 has 3 for tool_call_id"),
    ([ASK, calling(NOW), {"role": "tool", "content": "x", "call": "a"}], "message 3 has 'a' for call"),
    ([ASK, {"role": "assistant", "tool_calls": "now"}], "message 2 has 'now' for tool_calls: it should be a list"),
    ([ASK, calling("now")], "message 2 has the call 'now'"),
    ([ASK, calling({"type": "custom", "custom": {}})], "message 2 has the call"),
    ([ASK, calling({"type": "function", "function": "now"})], "message 2 has the call"),
    ([ASK, calling(call(""))], "message 2 calls a tool whose name is ''"),
    ([ASK, calling(call("a\nb"))], "message 2 calls a tool whose name is"),
    ([ASK, calling(call("now", [1]))], r"message 2 calls now with \[1\] for arguments"),
    ([ASK, calling(call("now", {"x": object()}))], "message 2 calls now with arguments that are no JSON"),
    ([ASK, calling(call("now", "{}", 7))], "message 2 calls now with the id 7"),
]


@pytest.mark.parametrize(("messages", "reason"), BAD)
def test_what_is_no_conversation_names_the_message(messages: Messages, reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        split_turns(messages)


def test_a_prompt_without_a_dialect_refuses_calls(chatty: Tokenizer) -> None:
    messages = [ASK, calling(NOW), result("x", "a")]
    with pytest.raises(PromptError, match=r"message 2 calls a tool, .* use qwen7b\.tools\.chat_prompt"):
        chat_prompt(chatty, messages)
    with pytest.raises(PromptError, match="message 2 calls a tool"):
        checked_messages(messages)
