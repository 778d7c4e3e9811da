"""Qwen-Agent's dialect: prompts and readings are those of its own program, recorded in tests/golden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.matching import assert_takes
from dialects.reading_calls import read, read_every_split, tools
from qwen7b.dialects import CallDelta, ParsedReply, read_definitions
from qwen7b.dialects.arguments import load_object
from qwen7b.dialects.qwen_fn import QwenFnDialect
from qwen7b.errors import SettingError
from qwen7b.text import Message, Tokenizer
from qwen7b.text.tool_calls import ToolCall

GOLDEN = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "golden" / "qwen_fn.jsonl").read_text("utf-8").splitlines()
]
DIALECT = QwenFnDialect()
TOOLS = tools("weather", "now", "code_interpreter")


def with_calls(message: dict[str, Any]) -> Message:
    read = {**message}
    if "tool_calls" in read:
        read["tool_calls"] = tuple(ToolCall(**call) for call in read["tool_calls"])
    if "call" in read:
        read["call"] = ToolCall(**read["call"])
    return read


@pytest.mark.parametrize("case", [case for case in GOLDEN if case["kind"] == "prompt"], ids=lambda _: "")
def test_prompts_are_qwen_agent_s(case: dict[str, Any]) -> None:
    dialect = QwenFnDialect(parallel=case["parallel"])
    messages = [*map(with_calls, case["messages"])]
    assert dialect.write(messages, read_definitions(case["tools"])) == case["written"]


@pytest.mark.parametrize("case", [case for case in GOLDEN if case["kind"] == "reply"], ids=lambda case: case["text"])
def test_replies_are_read_as_qwen_agent_reads_them(case: dict[str, Any]) -> None:
    # Where nothing is written for arguments, this reads "{}", which takes none as well.
    calls = tuple(ToolCall(name, arguments or "{}") for name, arguments in case["calls"])
    assert read_every_split(DIALECT, case["text"], tools=TOOLS) == ParsedReply(case["content"], calls)


REPLIES: list[tuple[str, str, list[ToolCall]]] = [
    ("✿FUNCTION✿: now\n", "", [ToolCall("now", "{}")]),
    ("✿FUNCTION✿: now\n✿RESULT✿: 9:00", "", [ToolCall("now", "{}")]),
    ("✿FUNCTION✿: now\n✿ARGS✿:\n✿FUNCTION✿: now\n✿ARGS✿: {}", "", [ToolCall("now", "{}")] * 2),
    ("✿FUNCTION✿: other\n✿ARGS✿: {}", "", [ToolCall("other", "{}")]),
    ('✿FUNCTION✿: now\n✿ARGS✿: {"a": "✿"}\n✿RETURN✿: Fine.', "", [ToolCall("now", '{"a": "✿"}')]),
    ("Hi.\n\n✿RESULT✿: invented", "Hi.", []),
    (": : x", ": x", []),
    # What is no call is content.
    ("✿FUNCTION✿: nobody", "✿FUNCTION✿: nobody", []),
    ("✿FUNCTION✿:\n✿ARGS✿: {}", "✿FUNCTION✿:\n✿ARGS✿: {}", []),
    ("One \n✿FUNCTION✿: a\nb\n✿ARGS✿: {}", "One \n✿FUNCTION✿: a\nb\n✿ARGS✿: {}", []),
    ("The mark ✿FUNCTION✿ and ✿ARGS✿: are its own", "The mark ✿FUNCTION✿ and ✿ARGS✿: are its own", []),
]


@pytest.mark.parametrize(("text", "content", "calls"), REPLIES)
def test_every_split_of_a_reply_reads_the_same(text: str, content: str, calls: list[ToolCall]) -> None:
    assert read_every_split(DIALECT, text, tools=TOOLS) == ParsedReply(content, tuple(calls))


def test_arguments_come_while_they_are_written() -> None:
    parser = DIALECT.parser(TOOLS)
    assert parser.push("Well.\n✿FUNCTION✿: now\n✿AR") == ["Well."]
    assert parser.push('GS✿: {"a": ') == [CallDelta(0, "", "now"), CallDelta(0, '{"a":')]
    assert parser.push("1} // ") == [CallDelta(0, " 1}")]
    assert parser.push("so") == parser.flush() == []


words = st.text(st.sampled_from("ab 你\n{}[]\"'\\<>:,_`✿") | st.characters(exclude_categories=["Cs"]), max_size=12)
objects = st.dictionaries(words, words | st.integers(), max_size=3)
marks = st.sampled_from(["✿FUNCTION✿:", "✿ARGS✿:", "✿RESULT✿", "✿RETURN✿", " now", "\n", "{", "}", "```", ":", " "])


@given(
    content=st.text("ab 你,.✿", max_size=12).map(str.strip),
    written=st.lists(st.tuples(st.sampled_from(["now", "天气", "a.b"]), objects), max_size=3),
    data=st.data(),
)
def test_what_is_written_is_read_again(
    content: str, written: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    made = [ToolCall(name, json.dumps(given, ensure_ascii=False)) for name, given in written]
    message: Message = {"role": "assistant", "content": content, "tool_calls": tuple(made)}
    text = DIALECT.write([{"role": "user", "content": "?"}, message], [])[1]["content"]
    place = data.draw(st.integers(0, len(text)))
    reply = read(DIALECT, text[:place], text[place:], tools=TOOLS)
    assert reply.content == content.removesuffix("✿").rstrip() if not made else reply.content == content
    assert [(call.name, load_object(call.arguments)) for call in reply.calls] == written


@given(st.lists(marks | words, max_size=12), st.data())
def test_any_two_cuts_of_any_text_read_the_same(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    first, second = sorted(data.draw(st.tuples(*2 * (st.integers(0, len(text)),))))
    whole = read(DIALECT, text, tools=TOOLS)
    assert read(DIALECT, text[:first], text[first:second], text[second:], tools=TOOLS) == whole


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PARIS, CLOCK = '✿FUNCTION✿: weather\n✿ARGS✿: {"city": "Paris"}', "✿FUNCTION✿: now\n✿ARGS✿: {}"


@pytest.mark.parametrize(
    ("choice", "parallel", "good", "bad"),
    [
        ("auto", True, ["", ": Hi.", PARIS, f"Hi.\n{PARIS}\n{CLOCK}"], [f"{PARIS}.", PARIS[:-2], "✿FUNCTION✿: other"]),
        ("auto", False, ["", PARIS, f"Hi\n{CLOCK}"], [f"{PARIS}\n{CLOCK}"]),
        ("required", True, [PARIS, f"{PARIS}\n{CLOCK}"], ["", "Hi.", f"Hi.\n{PARIS}"]),
        ("now", True, [CLOCK], ["", PARIS, f"{CLOCK}\n{CLOCK}"]),
        ("none", True, ["", "Hi."], [PARIS]),
    ],
)
def test_a_grammar_takes_replies_of_its_choice(
    caller: Tokenizer, choice: str, parallel: bool, good: list[str], bad: list[str]
) -> None:
    offered = read_definitions([{"name": "weather", "parameters": CITY}, {"name": "now"}])
    grammar = DIALECT.grammar(offered, choice=choice, parallel=parallel)
    assert_takes(caller, grammar, good, but_not=bad)


def test_the_grammar_fences_code_where_the_prompt_asks_for_it(caller: Tokenizer) -> None:
    py = {"name": "py", "parameters": {"type": "object", "properties": {}}}
    fenced, bare = "✿FUNCTION✿: py\n✿ARGS✿: \n```py\nprint(1)\n```", "✿FUNCTION✿: py\n✿ARGS✿: {}"
    takes_code, takes_json = (read_definitions([{**py, "args_format": format}]) for format in ("code", "json"))
    interpreter = read_definitions([{**py, "name": "code_interpreter"}])  # by its name alone, as in Qwen-Agent
    assert "triple backticks" in str(DIALECT.write([{"role": "user", "content": "?"}], interpreter))
    for offered, good, bad in (
        (takes_code, fenced, bare),
        (takes_json, bare, fenced),
        (interpreter, fenced.replace("py\n✿", "code_interpreter\n✿"), bare.replace("py\n✿", "code_interpreter\n✿")),
    ):
        grammar = DIALECT.grammar(offered, choice="required", parallel=True)
        assert_takes(caller, grammar, [good, f"{good}\n{good}"], but_not=[bad, f"{good}."])
        assert len(read_every_split(DIALECT, f"{good}\n{good}", tools=offered).calls) == 2


def test_a_name_that_holds_a_mark_is_refused() -> None:
    messages = [{"role": "user", "content": "?"}]
    DIALECT.write(messages, tools("a✿FUNCTION"))
    with pytest.raises(SettingError, match="has ✿ARGS✿"):
        DIALECT.write(messages, tools("weather", "x✿ARGS✿: y"))
