"""Conversations in every form, out of JSON and JSON lines, and refusals that name file, line and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qwen7b.errors import PromptError, SettingError
from qwen7b.train.conversations import AWAITED, read_conversations

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}
TALK = [USER, ASSISTANT]
CALL = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "noon"}


def read(path: Path, *items: object) -> list[Any]:
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
    return list(read_conversations([path]))


def spoken(conversation: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in conversation.messages]


@pytest.mark.parametrize(
    "item",
    [
        {"messages": TALK},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, ASSISTANT], "id": 7},
        {"messages": [USER, {**ASSISTANT, "weight": 1}]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {"id": "x", "conversations": [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "Hello"}]},
        {"conversations": TALK},
        {"instruction": "Hi", "input": "", "output": "Hello"},
    ],
)
def test_every_form_says_the_same(tmp_path: Path, item: object) -> None:
    [conversation] = read(tmp_path / "a.jsonl", item)
    assert spoken(conversation) == [("user", "Hi"), ("assistant", "Hello")]
    assert conversation.tools == () and conversation.place == f"{tmp_path / 'a.jsonl'}, line 1"


def test_what_alpaca_and_sharegpt_have_beside_it(tmp_path: Path) -> None:
    alpaca = {"instruction": "Add", "input": "1 2", "output": "3", "history": [["Hi", "Hello"]], "system": "Be brief."}
    sharegpt = {
        "system": "Be brief.",
        "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
    }
    first, second = read(tmp_path / "a.jsonl", alpaca, sharegpt)
    asked = [("user", "Hi"), ("assistant", "Hello"), ("user", "Add\n1 2"), ("assistant", "3")]
    assert spoken(first) == [("system", "Be brief."), *asked]
    assert spoken(second) == [("system", "Be brief."), ("user", "a"), ("assistant", "b")]


def test_tools_and_calls_of_both_forms_are_the_same(tmp_path: Path) -> None:
    tool = {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}
    openai = {"messages": [USER, CALLING, RESULT, ASSISTANT], "tools": [{"type": "function", "function": tool}]}
    sharegpt = {
        "conversations": [
            {"from": "human", "value": "Hi"},
            {"from": "function_call", "value": '{"name": "now", "arguments": {}}'},
            {"from": "observation", "value": "noon"},
            {"from": "gpt", "value": "Hello"},
        ],
        "tools": json.dumps([tool]),
    }
    first, second = read(tmp_path / "a.jsonl", openai, sharegpt)
    assert spoken(first) == spoken(second)
    assert first.tools == second.tools and first.tools[0].name == "now"
    assert [message["call"].name for message in first.messages if message["role"] == "tool"] == ["now"]


def test_a_conversation_may_end_with_calls(tmp_path: Path) -> None:
    [conversation] = read(tmp_path / "a.jsonl", {"messages": [USER, CALLING]})
    assert spoken(conversation)[-1] == ("tool", AWAITED)


def test_a_list_and_lines_are_read_alike_with_their_lines(tmp_path: Path) -> None:
    items = [{"messages": TALK}, {"instruction": "Hi", "output": "Hello"}]
    (tmp_path / "a.json").write_text(f"\ufeff\n[{json.dumps(items[0], indent=1)},\n\n{json.dumps(items[1])}]\n")
    listed = list(read_conversations([tmp_path / "a.json"]))
    assert [each.place.rpartition(" ")[2] for each in listed] == ["2", "15"]
    assert [*map(spoken, listed)] == [*map(spoken, read(tmp_path / "a.jsonl", *items))]
    (tmp_path / "b.jsonl").write_bytes(b"\r\n".join(json.dumps(item).encode() for item in items) + b"\r\n\r\n")
    lines = list(read_conversations([tmp_path / "b.jsonl", tmp_path / "a.jsonl"]))
    assert [each.place for each in lines] == [f"{tmp_path / name}.jsonl, line {n}" for name in "ba" for n in (1, 2)]


def test_a_first_message_of_the_assistant_is_left_out_as_the_original_does_and_said(tmp_path: Path) -> None:
    opening = {"from": "gpt", "value": "hi"}
    sent = [opening, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    with pytest.warns(UserWarning, match=r"^1 conversation began with .* left out; the first is in .*a.jsonl, line 2$"):
        conversations = read(tmp_path / "a.jsonl", {"messages": TALK}, {"conversations": sent})
    assert spoken(conversations[1]) == [("user", "Hi"), ("assistant", "Hello")]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"messages": [USER]}, "ends without an answer, with a message of the role 'user': add"),
        ({"messages": [USER, ASSISTANT, USER]}, "ends without an answer"),
        ({"messages": [USER, CALLING, RESULT]}, "ends without an answer, with a message of the role 'tool'"),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, "message 2, the assistant's, is empty: write"),
        ({"instruction": "Hi", "output": ""}, "message 2, the assistant's, is empty"),
        ({"messages": [ASSISTANT, USER, ASSISTANT]}, "begins with the assistant: put a message from the user first"),
        ({"messages": [USER, {"role": "bot", "content": "Hello"}]}, "message 2 has the role 'bot': use 'system'"),
        ({"conversations": [{"from": "bot", "value": "Hello"}]}, "message 1 is from 'bot': use 'user' or 'human'"),
        ({"conversations": [{"from": ["user"], "value": "Hello"}]}, "message 1 is from ['user']"),
        ({"conversations": [{"from": "user", "value": 7}]}, "message 1 has 7 for value: it should be a string"),
        ({"conversations": ["Hi"]}, "message 1 should have a 'from' and a 'value', found 'Hi'"),
        ({"conversations": "Hi"}, "should be a list of messages, found 'Hi'"),
        ({"messages": [USER, {**ASSISTANT, "weight": 0}, *TALK]}, "message 2 has the weight 0, and all that"),
        ({"messages": []}, "there is nothing to answer"),
        ({"messages": "Hi"}, "should be a list of messages"),
        ({"messages": [*TALK, {"role": "system", "content": "Be brief."}, *TALK]}, "only the first message"),
        ({"messages": [USER, CALLING, ASSISTANT]}, "the call of now (id '1') has no result before message 3"),
        ({"messages": TALK, "tools": [{"description": "nameless"}]}, "must have a 'name'"),
        ({"messages": TALK, "tools": "{"}, "'tools' is a text that is not JSON"),
        ({"messages": TALK, "tools": {"name": "now"}}, "'tools' should be a list"),
        ({"conversations": [{"from": "function_call", "value": "now()"}]}, "function_call whose value is not JSON"),
        ({"instruction": 1, "output": "x"}, "'instruction' should be a string, found 1"),
        ({"instruction": "x", "output": "x", "history": [["a"]]}, "list of pairs"),
        ({"prompt": "Hi", "completion": "Hello"}, "(ShareGPT's) or 'instruction' and 'output' (Alpaca's), found ["),
        ("Hi", "should be an object with 'messages'"),
    ],
)
def test_what_is_no_conversation_is_refused_by_file_and_line(tmp_path: Path, item: object, said: str) -> None:
    with pytest.raises(PromptError) as refused:
        read(tmp_path / "a.jsonl", {"messages": TALK}, item)
    assert str(refused.value).startswith(f"{tmp_path / 'a.jsonl'}, line 2: ")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"messages": ', "line 1 is not JSON"),
        ("Hi\n", "line 1 is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('[{"instruction": "a", "output": "b"}\n {"instruction"', "the item on line 1 is not JSON: after an item"),
        ('[{"instruction": "a", "output": "b"},\n {"instruction"', "the item on line 2 is not JSON"),
        ('[{"instruction": "a", "output": "b"}', "after an item there should be a comma or ]"),
        ('[{"instruction": "a", "output": "b"}]\n{}', "goes on behind its list with '{}'"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(PromptError, match=r"a\.json") as refused:
        list(read_conversations([path]))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no conversation: give"),
        (b"[]", "holds no conversation"),
        (b"\xff\xfe", "cannot be read as UTF-8 text"),
        (None, "does not exist: check the path"),
    ],
)
def test_a_file_without_conversations_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError, match=r"a\.json") as refused:
        list(read_conversations([path]))
    assert said in str(refused.value)
