"""Qwen2.5-Coder's dialect: what the model has been seen to write is read, and other JSON is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.matching import takes
from dialects.reading_calls import read, read_every_split, tools
from qwen7b.dialects import CallDelta, ParsedReply, read_definitions
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
    assert parser.push("```c\nint main()\n{\n  ret") == ["```c\nint main()", "\n", "{\n  ret"]
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
            '  {"name": "now", "arguments": {}}\n]\n```',
        ),
        ("user", "<tool_response>\n18 °C\n</tool_response>\n<tool_response>\n9:00\n</tool_response>"),
    ]


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


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = '{"name": "weather", "arguments": {"city": "Paris"}}'
CLOCK = '{"name": "now", "arguments": {}}'
ALICE = '```json\n{\n  "name": "Alice",\n  "age": 30\n}\n```'
FENCED = f"```json\n{WEATHER}\n```"
SPREAD = '```json\n{\n  "name": "weather", "arguments": {"city": "Paris"}}\n```'
ONE, OTHER, TWO = (f"```json\n[\n  {calls}\n]\n```" for calls in (WEATHER, CLOCK, f"{WEATHER},\n  {CLOCK}"))


@pytest.mark.parametrize(
    ("choice", "parallel", "good", "bad"),
    [
        (
            "auto",
            True,
            ["", "Hi.\n\n", FENCED, f"Hi.\n{TWO}", WEATHER, SPREAD, f"[{WEATHER}, {CLOCK}]", ALICE],
            [f"{FENCED}.", ONE[:-12], '[{"name": "Alice"}]', f"Hi {WEATHER}", '{"arguments": {}}', "{'name': 'now'}"],
        ),
        ("auto", False, ["", FENCED, f"Hi\n{ONE}", WEATHER], [f"{FENCED}\n{FENCED}", TWO]),
        ("required", True, [ONE, TWO], ["", "Hi.", f"Hi.\n{ONE}", WEATHER, FENCED]),
        ("required", False, [ONE, OTHER], ["", TWO]),
        ("now", True, [OTHER], ["", ONE, TWO]),
        ("none", True, ["", "Hi."], [FENCED, ONE, WEATHER]),
    ],
)
def test_a_grammar_takes_replies_of_its_choice(
    caller: Tokenizer, choice: str, parallel: bool, good: list[str], bad: list[str]
) -> None:
    offered = read_definitions([{"name": "weather", "parameters": CITY}, {"name": "now"}])
    grammar = DIALECT.grammar(offered, choice=choice, parallel=parallel)
    assert [text for text in good if not takes(caller, grammar, text)] == []
    assert [text for text in bad if takes(caller, grammar, text)] == []
    for text in good:  # and the parser agrees about which of them call
        assert bool(read(DIALECT, text, tools=offered).calls) == ("arguments" in text)


def test_without_tools_any_reply_is_taken(caller: Tokenizer) -> None:
    assert takes(caller, DIALECT.grammar([], choice="auto", parallel=True), f"Like so:\n{TWO}")


@pytest.mark.parametrize("name", ["天气.now", "a-b_c", 'a"b\\', "a/b"])
def test_names_of_any_kind_are_written_read_and_masked(caller: Tokenizer, name: str) -> None:
    (message,) = DIALECT.write([calls("", ToolCall(name, "{}"))], [])
    text, offered = "".join(message["content"]), tools(name)
    assert read_every_split(DIALECT, text, tools=offered) == ParsedReply("", (ToolCall(name, "{}"),))
    assert takes(caller, DIALECT.grammar(offered, choice="required", parallel=False), text)
    grammar = DIALECT.grammar(offered, choice="auto", parallel=True)
    bare = json.dumps({"name": name, "arguments": {}}, ensure_ascii=False)
    assert takes(caller, grammar, text) and takes(caller, grammar, bare)
    assert not takes(caller, grammar, bare.replace("arguments", "parameters"))
