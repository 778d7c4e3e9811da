"""Qwen2.5-Coder's dialect: what the model has been seen to write is read, and other JSON is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.matching import takes
from dialects.reading_calls import read, read_every_split, tools
from qwen7b.dialects import CallDelta, ParsedReply
from qwen7b.dialects.arguments import load_object
from qwen7b.dialects.coder import CoderDialect
from qwen7b.text import Message, Tokenizer
from qwen7b.text.tool_calls import ToolCall

DIALECT = CoderDialect()
TOOLS = tools("weather", "now", "math.gcd", "天气")
PARIS, NOW = ToolCall("weather", '{"city": "Paris"}'), ToolCall("now", "{}")

REPLIES: dict[str, tuple[str, str, list[ToolCall]]] = {
    # These four are the demo model's own.
    "a fence": (
        '```json\n{\n  "name": "天气",\n  "arguments": {\n    "city": "北京"\n  }\n}\n```',
        "",
        [ToolCall("天气", '{\n    "city": "北京"\n  }')],
    ),
    "bare": ('{"name": "weather", "arguments": {"city": "Paris"}}', "", [PARIS]),
    "a bare list": (
        '[\n  {"name": "math.gcd", "arguments": {"num1": 36, "num2": 48}},\n'
        '  {"name": "math.gcd", "arguments": {"num1": 60, "num2": 96}}\n]',
        "",
        [ToolCall("math.gcd", '{"num1": 36, "num2": 48}'), ToolCall("math.gcd", '{"num1": 60, "num2": 96}')],
    ),
    "a list in a fence that is cut off": (
        '```json\n[\n  {"name": "weather", "arguments": {"city": "Paris"}},\n  {"name": "now", "argum',
        ',\n  {"name": "now", "argum',  # not known to be a call yet
        [PARIS],
    ),
    "words around": (
        'Let me see.\n\n```json\n{"name": "weather", "arguments": {"city": "Paris"}}\n```\n\nThat is it.',
        "Let me see.\n\n\nThat is it.",
        [PARIS],
    ),
    "several fences": (
        '```json\n{"name": "weather", "arguments": {"city": "Paris"}}\n```\n\n```json\n{"name": "now", '
        '"arguments": {}}\n```\n',
        "",
        [PARIS, NOW],
    ),
    "a fence that is not closed before the next": (
        '```json\n{"name": "weather", "arguments": {"city": "Paris"}}\n```json\n{"name": "now", "arguments": {}}\n```',
        "",
        [PARIS, NOW],
    ),
    "a fence of something else behind it": ('{"name": "now"}\n```python\nx\n```', "\n```python\nx\n```", [NOW]),
    "an object that is cut off": ('[{"name": "now"}, {"name": "no', ', {"name": "no', [NOW]),
    "arguments before the name": ('{"arguments": {"city": "Paris"}, "name": "weather"}', "", [PARIS]),
    "single quotes": ("{'name': 'weather', 'arguments': {'city': 'Paris'}}", "", [PARIS]),
    "a name with an escape": ('{"name": "weath\\u0065r", "arguments": {"city": "Paris"}}', "", [PARIS]),
    "lines in a fence": (
        '```\n{"name": "weather", "arguments": {"city": "Paris"}}\n{"name": "now", "arguments": {}}\n```',
        "",
        [PARIS, NOW],
    ),
    "objects one behind the other": ('{"name": "now"}{"name": "now"},{"name": "now"}', "", [NOW, NOW, NOW]),
    "Qwen2.5's marks": (
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>\n<tool_call>{"name": "now"}',
        "",
        [PARIS, NOW],
    ),
    "the marks of tools": ('<tools>\n{"name": "now", "arguments": {}}\n</tools>', "", [NOW]),
    "a fence in a string": (
        '```json\n{"name": "weather", "arguments": {"city": "```\\n"}}\n```',
        "",
        [ToolCall("weather", '{"city": "```\\n"}')],
    ),
    "indented": ('  {"name": "now", "arguments": {}}', "", [NOW]),
    "half a fence at the end": ('```json\n{"name": "now", "arguments": {}}\n``', "", [NOW]),
    "another's JSON, then a call": (
        '```json\n{"name": "Alice", "age": 30}\n```\nAnd:\n{"name": "now"}',
        '```json\n{"name": "Alice", "age": 30}\n```\nAnd:',
        [NOW],
    ),
}
NO_CALLS = [
    "",
    "\n",
    "It is 18 °C.\n",
    '```json\n{\n  "name": "Alice",\n  "age": 30\n}\n```',
    '```json\n{"name": "unknown", "arguments": {}}\n```',
    '{"city": "Paris"}',
    "```python\nweather(city='Paris')\n```",
    "```c\nint main()\n{\n  return 0;\n}\n```\n",
    'Write {"name": "now", "arguments": {}} to call it.',
    '{"name": "weather", "description": "Tells it.", "parameters": {}}',
    '{"name": "now", "argum',
    "```json\n",
    "[1, 2]\n[\n{",
    '\n\n{"names": ["now"]}',
    '[{"title": "x", "name": "now"}]',
    '[{"name": "Alice", "age": 3}]',
    '{"name": "Alice", "arguments": {"name": "now"}}',
]


@pytest.mark.parametrize(("text", "content", "calls"), REPLIES.values(), ids=REPLIES)
def test_every_split_of_a_reply_reads_the_same(text: str, content: str, calls: list[ToolCall]) -> None:
    assert read_every_split(DIALECT, text, tools=TOOLS) == ParsedReply(content, tuple(calls))


@pytest.mark.parametrize("text", NO_CALLS)
def test_other_json_is_content_to_the_last_character(text: str) -> None:
    assert read_every_split(DIALECT, text, tools=TOOLS) == ParsedReply(text)


def test_without_tools_nothing_is_a_call() -> None:
    text = '```json\n{"name": "now", "arguments": {}}\n```'
    assert read_every_split(DIALECT, text) == ParsedReply(text)


def test_code_is_given_out_while_it_is_written() -> None:
    parser = DIALECT.parser(TOOLS)
    assert parser.push("```c\nint main()\n{\n  ret") == ["```c\nint main()\n{\n  ret"]
    assert parser.push('\n{"name": "Ali') == []
    assert parser.push('ce"') == ['\n{"name": "Alice"']
    parser = DIALECT.parser(TOOLS)
    assert parser.push('```json\n{"name": "now", "arguments": {"a') == [CallDelta(0, '{"a', "now")]


def calls(content: str, *calls: ToolCall) -> Message:
    return {"role": "assistant", "content": content, "tool_calls": calls}


def test_the_prompt_shows_what_the_model_writes() -> None:
    ask: Message = {"role": "user", "content": "Paris?"}
    result: Message = {"role": "tool", "content": "18 °C", "call": PARIS}
    written = DIALECT.write([ask, calls("", PARIS, NOW), result, {**result, "content": "9:00"}], TOOLS[:1])
    texts = [(each["role"], "".join(each["content"])) for each in written]
    assert texts == [
        (
            "system",
            "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
            "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
            '{"type": "function", "function": {"name": "weather", "description": "", "parameters": '
            '{"type": "object", "properties": {}}}}\n</tools>\n\n'
            "Return the function calls as a list of json objects with function name and arguments, one object for each "
            'call:\n```json\n[\n  {"name": <function-name>, "arguments": <args-json-object>}\n]\n```',
        ),
        ("user", "Paris?"),
        (
            "assistant",
            '```json\n[\n  {"name": "weather", "arguments": {"city": "Paris"}},\n'
            '  {"name": "now", "arguments": {}}\n]\n```\n\n'
            "Result:\n```\n18 °C\n```\n\nResult:\n```\n9:00\n```\n\nAnswer:",
        ),
    ]


def test_an_answer_goes_on_where_the_results_end() -> None:
    said: list[Message] = [
        {"role": "user", "content": "Paris?"},
        calls("", NOW),
        {"role": "tool", "content": "9:00\n```", "call": NOW},
        calls("It is 9.", PARIS),
        {"role": "tool", "content": "18 °C", "call": PARIS},
    ]
    (_, first), (_, asked) = (list(each.values()) for each in DIALECT.write(said[:3], []))
    assert first == "Paris?" and asked.endswith("Result:\n````\n9:00\n```\n````\n\nAnswer:")
    (_, going_on) = DIALECT.write(said, [])
    assert going_on["content"].startswith(f"{asked} It is 9.\n```json\n") and going_on["content"].endswith("Answer:")
    answer: Message = {"role": "assistant", "content": "18 °C at 9."}
    _, turn, thanks = DIALECT.write([*said, answer, {"role": "user", "content": "Thanks"}], [])
    assert turn["content"] == f"{going_on['content']} 18 °C at 9." and thanks == {"role": "user", "content": "Thanks"}


words = st.text(st.sampled_from("ab 你\n{}[]\"'\\<>/:,_`") | st.characters(exclude_categories=["Cs"]), max_size=12)
objects = st.dictionaries(words, words | st.integers(), max_size=3)
marks = st.sampled_from(
    ["```json\n", "\n```", "```", "<tool_call>", '{"name": "now"', ', "arguments": {', "}}", "\n", "[", "]", ",", '"']
)


@given(
    content=st.text("ab 你,.", max_size=12),
    written=st.lists(
        st.tuples(st.sampled_from([tool.name for tool in TOOLS]), objects.map(json.dumps) | words), max_size=3
    ),
    data=st.data(),
)
def test_what_is_written_is_read_again(content: str, written: list[tuple[str, str]], data: st.DataObject) -> None:
    made = tuple(ToolCall(name, given) for name, given in written)
    (message,) = DIALECT.write([calls(content, *made)], [])
    text = "".join(message["content"])
    place = data.draw(st.integers(0, len(text)))
    reply = read(DIALECT, text[:place], text[place:], tools=TOOLS)
    assert reply.content == content
    stripped = [ToolCall(call.name, call.arguments.strip() or "{}") for call in made]
    assert [ToolCall(call.name, call.arguments.strip()) for call in reply.calls] == stripped


@given(st.lists(marks | words, max_size=12), st.data())
def test_any_two_cuts_of_any_text_read_the_same(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    first, second = sorted(data.draw(st.tuples(*2 * (st.integers(0, len(text)),))))
    whole = read(DIALECT, text, tools=TOOLS)
    assert read(DIALECT, text[:first], text[first:second], text[second:], tools=TOOLS) == whole
    if not whole.calls:
        assert whole.content == text


RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "golden" / "demo_calls.jsonl").read_text("utf-8").splitlines()
]


def single_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def plain_reading(text: str) -> list[tuple[object, object]] | None:
    """The names and arguments in a reply that is nothing but good JSON, in a fence or bare; None for others."""
    try:
        read = json.loads(text.removeprefix("```json\n").removesuffix("\n```"), object_pairs_hook=single_keys)
        return [(each["name"], each["arguments"]) for each in (read if isinstance(read, list) else [read])]
    except (ValueError, KeyError, TypeError):
        return None


def test_every_split_of_200_recorded_replies_reads_the_same() -> None:
    assert len(RECORDED) == 200
    num_calls = 0
    for record in RECORDED:
        reply = read_every_split(DIALECT, record["text"], tools=tools(*record["tools"]))
        expected = plain_reading(record["text"])
        if expected and all(name in record["tools"] and isinstance(given, dict) for name, given in expected):
            calls = [(call.name, load_object(call.arguments)) for call in reply.calls]
            assert (reply.content, calls) == ("", expected)
            num_calls += len(calls)
        elif not reply.calls:
            assert reply.content == record["text"]
    assert num_calls > 150


def test_every_reply_of_the_demo_that_calls_a_tool_is_one_that_the_mask_allows(caller: Tokenizer) -> None:
    """The ways in which the model begins to call are open to it under constraints."""
    for record in RECORDED[::5]:
        offered = tools(*record["tools"])
        reply = read(DIALECT, record["text"], tools=offered)
        if len(reply.calls) == 1 and not reply.content:
            beginning = record["text"].partition(reply.calls[0].name)[0] + reply.calls[0].name
            grammar = DIALECT.grammar(offered, choice="auto", parallel=True)
            assert takes(caller, grammar, beginning + '", "arguments": {}}')
