"""The grammars of `coder`: a reply that one takes has no calls but those that satisfy their tools' schemas."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from dialects.matching import assert_takes, new_matcher, takes
from dialects.reading_calls import read, read_every_split, tools
from qwen7b.dialects import ParsedReply, read_definitions
from qwen7b.dialects.arguments import load_object
from qwen7b.dialects.coder import CoderDialect
from qwen7b.text import Tokenizer
from qwen7b.text.tool_calls import ToolCall

DIALECT = CoderDialect()
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OFFERED = read_definitions([{"name": "weather", "parameters": CITY}, {"name": "now"}])
WEATHER = '{"name": "weather", "arguments": {"city": "Paris"}}'
CLOCK = '{"name": "now", "arguments": {}}'
FENCED = f"```json\n{WEATHER}\n```"
SPREAD = '```json\n{\n  "name": "weather", "arguments": {"city": "Paris"}}\n```'
ONE, OTHER, TWO = (f"```json\n[\n  {calls}\n]\n```" for calls in (WEATHER, CLOCK, f"{WEATHER},\n  {CLOCK}"))
PEOPLE = [{"name": "Alice", "age": 3}, {"name": "Bob", "parameters": {"name": "weather"}}]
NO_CALLS = [
    "",
    "Hi.\n\n",
    *(json.dumps(PEOPLE, indent=indent) for indent in (None, 2)),
    f"```json\n{json.dumps(PEOPLE[0], indent=2)}\n```\nThat is it.",
    *(f"{lead}{PEOPLE[0]}\n" for lead in ("", "  ", "[", "```python\n[\n\t")),
    '{"name": "weathers"}\n{"name" : "no"}\n',
    f"Hi {WEATHER}",
    'It may have `{"parameters": {}}`, or x = {"arguments": 3}.',
    '{"parameters": [{"name": "city"}]}',
    '{"name": "Ali',
]
CALLS_NOT_AS_WRITTEN = [
    '{"arguments": {}, "name": "weather"}',
    "{'name': 'weather', 'arguments': {}}",
    '{"name" : "weather", "arguments": {}}',
    '{"name": "weath\\u0065r", "arguments": {}}',
    '{"name": "weather", "parameters": {}}',
    '{"name": "weather"}',
    '```JSON\n{name: "weather"}\n```',
    '<tool_call>\n{"name": "weather"}\n</tool_call>',
]


@pytest.mark.parametrize(
    ("choice", "parallel", "good", "bad"),
    [
        (
            "auto",
            True,
            [FENCED, f"Hi.\n{TWO}", WEATHER, SPREAD, f"[{WEATHER}, {CLOCK}]", f"{PEOPLE}\n{FENCED}\n{FENCED}"],
            [f"{FENCED}.", ONE[:-12], f"Hi {WEATHER}\n{WEATHER}."],
        ),
        ("auto", False, [FENCED, f"Hi\n{ONE}", WEATHER], [f"{FENCED}\n{FENCED}", TWO]),
        ("required", True, [ONE, TWO], ["", "Hi.", f"Hi.\n{ONE}", WEATHER, FENCED]),
        ("required", False, [ONE, OTHER], ["", TWO]),
        ("now", True, [OTHER], ["", ONE, TWO]),
        ("none", True, [], [FENCED, ONE, WEATHER]),
    ],
)
def test_a_grammar_takes_replies_of_its_choice(
    caller: Tokenizer, choice: str, parallel: bool, good: list[str], bad: list[str]
) -> None:
    grammar = DIALECT.grammar(OFFERED, choice=choice, parallel=parallel)
    assert_takes(caller, grammar, good, but_not=bad)
    for text in good:  # and the parser agrees that they call
        assert read(DIALECT, text, tools=OFFERED).calls


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_text_is_free_where_it_calls_no_tool(caller: Tokenizer, choice: str) -> None:
    grammar = DIALECT.grammar(OFFERED, choice=choice, parallel=True)
    others = [f"{text}{more}" for text in CALLS_NOT_AS_WRITTEN for more in ("", f"\n[{CLOCK}]", f"\n{CLOCK}")]
    assert_takes(caller, grammar, NO_CALLS, but_not=others)
    for text in NO_CALLS:
        assert read(DIALECT, text, tools=OFFERED) == ParsedReply(text)
    for text in CALLS_NOT_AS_WRITTEN:
        assert read(DIALECT, text, tools=OFFERED).calls


def test_without_tools_any_reply_is_taken(caller: Tokenizer) -> None:
    assert takes(caller, DIALECT.grammar([], choice="auto", parallel=True), f"Like so:\n{TWO}")


@pytest.mark.parametrize("name", ["天气.now", "a-b_c", 'a"b\\', "a/b", "it's"])
def test_names_of_any_kind_are_written_read_and_masked(caller: Tokenizer, name: str) -> None:
    (message,) = DIALECT.write([{"role": "assistant", "content": "", "tool_calls": (ToolCall(name, "{}"),)}], [])
    text, offered = "".join(message["content"]), tools(name)
    assert read_every_split(DIALECT, text, tools=offered) == ParsedReply("", (ToolCall(name, "{}"),))
    assert takes(caller, DIALECT.grammar(offered, choice="required", parallel=False), text)
    grammar = DIALECT.grammar(offered, choice="auto", parallel=True)
    bare = json.dumps({"name": name, "arguments": {}}, ensure_ascii=False)
    assert takes(caller, grammar, text) and takes(caller, grammar, bare)
    assert not takes(caller, grammar, bare.replace("arguments", "parameters"))


PIECES = [
    *("{", "}", "[", "]", '"', "'", ",", ":", " ", "\n", "\t", "\\", "```", "```json\n", "\n```", "None", "x"),
    *("<tool_call>", "<tools>", "</tool_call>", "name", "arguments", "weather", "now", "Alice", "weath\\u0065r"),
    *('"name": ', '"name" : "', "{'name': '", '\n{"name": "', '\n[\n{"name":"', '{"arguments": {}', '{"parameters": ['),
    *('"weather"', "'now'", '"Alice"', ', "arguments": {', '"city": "x"', "}}", '{"name": "Alice", "age": 3}'),
    *(WEATHER, CLOCK, f"\n{WEATHER}", f",\n  {CLOCK}", f"\n```json\n{WEATHER}\n```", f"[{CLOCK}]"),
]


def test_random_replies_that_a_grammar_takes_make_valid_calls_only(caller: Tokenizer) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema")
    schemas = {tool.name: {**tool.schema, "additionalProperties": False} for tool in OFFERED}
    ways = [("auto", True), ("auto", False), ("none", True)]
    matchers = [new_matcher(caller, DIALECT.grammar(OFFERED, choice=choice, parallel=each)) for choice, each in ways]
    chance = random.Random(0)
    num_taken = num_calls = 0
    for _ in range(4000):
        text = "".join(chance.choices(PIECES, k=chance.randint(1, 9)))
        ids, calls = caller.encode(text), read(DIALECT, text, tools=OFFERED).calls
        for (choice, parallel), start in zip(ways, matchers, strict=True):
            matcher = start.deep_copy()
            if matcher.try_consume_tokens(ids) < len(ids) or not matcher.is_accepting():
                continue
            assert len(calls) <= (0 if choice == "none" else 1 if not parallel else 9), text
            for call in calls:
                jsonschema.validate(load_object(call.arguments), schemas[call.name])
            num_taken, num_calls = num_taken + 1, num_calls + len(calls)
    assert num_taken > 6000 and num_calls > 100
