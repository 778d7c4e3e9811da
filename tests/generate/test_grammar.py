"""Constrained replies: whatever a model likes to say, what it says satisfies the constraint."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import re
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import BaseModel, Field

import qwen7b
from qwen7b import Greedy, Qwen, Sample
from qwen7b.errors import MissingExtraError, SettingError, UnsupportedError
from qwen7b.generate.grammar import GrammarCompiler
from qwen7b.generate.response_format import Lark, Regex


class City(BaseModel):
    name: str = Field(max_length=8)
    population: int = Field(ge=0, le=9999)
    kind: Literal["town", "village"]
    rivers: list[Annotated[str, Field(max_length=5)]] = Field(max_length=2)


SCHEMA = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}
HOLDS_ITSELF: dict[str, Any] = {"type": "object"}
HOLDS_ITSELF["properties"] = {"again": HOLDS_ITSELF}
LARK = 'start: "<" word ("," word)* ">"\nword: /[a-z]{1,3}/'
SAMPLINGS = [Greedy(), Sample(seed=1), Sample(seed=2, temperature=3.0, top_p=0.9), Greedy(repetition_penalty=1.3)]


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.fixture(scope="module")
def qwen(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="none")


def compiler(qwen: Qwen) -> GrammarCompiler:
    return GrammarCompiler(qwen.tokenizer, stop_ids=qwen.stop_ids)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_random_model_keeps_to_a_schema(qwen: Qwen, sampling: Any) -> None:
    reply = qwen.chat("Is it?", response_format=SCHEMA, sampling=sampling, max_new_tokens=60)
    assert reply.finish_reason == "stop"
    Draft202012Validator(SCHEMA).validate(json.loads(reply.text))
    assert reply.text == json.dumps(json.loads(reply.text))  # in Python's style
    assert qwen.tokenizer.decode(reply.token_ids) == reply.text


PROMISED: dict[str, dict[str, Any]] = {
    "bounds": {"type": "integer", "minimum": 3, "exclusiveMaximum": 17},
    "numbers": {"type": "number", "minimum": -0.5, "maximum": 0.25},
    "multiples": {"type": "integer", "multipleOf": 7, "minimum": 10, "maximum": 99},
    "lengths": {"type": "string", "minLength": 3, "maxLength": 5},
    "patterns": {"type": "string", "pattern": "^[ab]{2}(c|你)$"},
    "dates": {"type": "string", "format": "date"},
    "enumerations": {"enum": [1, "a", None, {"b": [True]}, "你好"]},
    "constants": {"const": {"a": 1.5}},
    "tuples": {"type": "array", "prefixItems": [{"const": 1}, {"type": "boolean"}], "items": False, "minItems": 2},
    "counts": {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2, "maxItems": 3},
    "doubled or not": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2, "uniqueItems": False},
    "maps": {"type": "object", "additionalProperties": {"type": "boolean"}, "required": ["x", "y"], "maxProperties": 2},
    "named by patterns": {
        "type": "object",
        "patternProperties": {"^n[0-9]$": {"type": "integer", "minimum": 0, "maximum": 9}},
        "additionalProperties": False,
        "maxProperties": 2,
    },
    "any of": {"anyOf": [{"type": "boolean"}, {"const": "no"}]},
    "all of": {"allOf": [{"type": "integer", "minimum": 2}, {"maximum": 4}]},
    "one of types": {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
    "one of kinds": {
        "oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
        "$defs": {
            "cat": {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"enum": [7, 9]}}},
            "dog": {"type": "object", "properties": {"lives": {"const": 1}, "kind": {"enum": ["dog", "puppy"]}}},
        },
    },
    "lists of lists": {
        "$ref": "#/$defs/list",
        "$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}, "maxItems": 1}},
    },
}


@pytest.mark.parametrize("keyword", PROMISED)
def test_what_is_promised_of_a_schema_is_kept(qwen: Qwen, keyword: str) -> None:
    schema = PROMISED[keyword]
    settings: Any = {"response_format": {**closed(schema)}, "max_new_tokens": 300, "temperature": 1.0}
    replies = [qwen.chat("?", seed=seed, **settings) for seed in range(4)]
    whole = [reply.text for reply in replies if reply.finish_reason == "stop"]
    assert len(whole) >= 3
    for text in whole:
        Draft202012Validator(schema).validate(json.loads(text))


def closed(schema: Any) -> Any:
    """A schema whose objects have no other properties, so that a random model comes to an end."""
    if isinstance(schema, dict):
        named = {"additionalProperties": False} if "properties" in schema else {}
        return {**{key: closed(value) for key, value in schema.items()}, **named}
    return [*map(closed, schema)] if isinstance(schema, list) else schema


@pytest.mark.parametrize("seed", range(4))
def test_a_pydantic_model_can_be_given(qwen: Qwen, seed: int) -> None:
    reply = qwen.chat("Where?", response_format=City, seed=seed, max_new_tokens=300)
    assert reply.finish_reason == "stop" and City.model_validate_json(reply.text)


@pytest.mark.parametrize("seed", range(4))
def test_regular_expressions_and_grammars_hold(qwen: Qwen, seed: int) -> None:
    regex = "(你好|hello)[0-9]{2,5}"
    reply = qwen.complete("x", response_format={"type": "regex", "regex": regex}, seed=seed)
    assert re.fullmatch(regex, reply.text)
    reply = qwen.complete("x", response_format={"type": "grammar", "grammar": LARK}, seed=seed, max_new_tokens=99)
    assert reply.finish_reason == "length" or re.fullmatch("<[a-z]{1,3}(,[a-z]{1,3})*>", reply.text)


def test_json_objects_are_any_object(qwen: Qwen) -> None:
    reply = qwen.chat("x", response_format={"type": "json_object"}, seed=5, max_new_tokens=400)
    assert reply.text.startswith("{") and (reply.finish_reason == "length" or isinstance(json.loads(reply.text), dict))
    assert qwen.chat("x", response_format={"type": "text"}) == qwen.chat("x")


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_batches_streams_samples_and_speculation_give_the_same_replies(qwen: Qwen, sampling: Any) -> None:
    settings: Any = {"response_format": SCHEMA, "sampling": sampling, "max_new_tokens": 60}
    questions = ["a", "hello hello hello hello", "你好"]
    singles = [qwen.chat(question, **settings) for question in questions]
    assert qwen.chat_batch(questions, **settings) == singles
    assert [[*qwen.stream(question, **settings)][-1].reply for question in questions] == singles
    assert [qwen.chat(question, speculate="ngram", **settings) for question in questions] == singles
    assert qwen.chat_samples(questions[1], n=3, **settings)[0] == singles[1]
    with_logprobs = qwen.chat(questions[1], logprobs=0, **settings)
    assert with_logprobs.token_ids == singles[1].token_ids
    assert [entry.token_id for entry in with_logprobs.logprobs or ()] == singles[1].token_ids


def test_limits_and_stop_strings_cut_a_reply(qwen: Qwen) -> None:
    reply = qwen.complete("x", response_format={"type": "regex", "regex": "a{50}"}, max_new_tokens=7)
    assert (reply.text, reply.finish_reason) == ("a" * 7, "length")
    reply = qwen.complete("x", response_format={"type": "regex", "regex": "hello there"}, stop="lo t")
    assert (reply.text, reply.finish_reason) == ("hel", "stop")


def test_the_empty_reply_may_be_all_that_is_allowed(qwen: Qwen) -> None:
    reply = qwen.complete("x", response_format={"type": "regex", "regex": ""})
    assert (reply.text, reply.token_ids, reply.finish_reason) == ("", [], "stop")


def test_a_caller_s_processors_and_biases_stay_within_the_grammar(qwen: Qwen) -> None:
    regex = {"type": "regex", "regex": "a|b"}
    a, b, c = (qwen.tokenizer.encode(letter)[0] for letter in "abc")

    def prefer(*token_ids: int) -> Any:
        return lambda ids, logits_V: torch.full_like(logits_V, -torch.inf).index_fill_(0, torch.tensor(token_ids), 0.0)

    assert qwen.complete("x", response_format=regex, processors=[prefer(b, c)]).text == "b"
    assert qwen.complete("x", response_format=regex, logit_bias={c: 1000.0, a: 100.0}).text == "a"
    with pytest.raises(SettingError, match="leave no token to choose"):
        qwen.complete("x", response_format=regex, processors=[prefer(c)])
    with pytest.raises(SettingError, match="leave no token to choose"):
        qwen.complete("x", response_format=regex, logit_bias={a: -torch.inf, b: -torch.inf})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"type": "array", "uniqueItems": True},
            """the JSON schema's "uniqueItems" cannot be promised: leave it out""",
        ),
        ({"type": "string", "format": "colour"}, "the JSON schema's format colour cannot be promised"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf with alternatives that may overlap cannot be"),
        ({"type": "string", "pattern": "(?!a)b"}, "look-around"),
        ({"type": "strng"}, "Invalid type: strng"),
        ({"type": "object", "properties": 3}, "properties must be an object"),
        ({"enum": []}, "Unsatisfiable schema"),
        ({"$ref": "#"}, "requires itself again without end"),
        ({"type": "object", "default": float("nan")}, "cannot be read"),
        ({"type": "object", "properties": {"a": object()}}, "cannot be read (found <object"),
        ({"type": {"object"}}, "cannot be read (found {'object'})"),
        (HOLDS_ITSELF, "cannot be read (Circular reference"),
        (nested(900), "recursion"),
        ({"type": "object", "x-guidance": 3}, "found 3"),
        ({"type": "object", "x-guidance": {"spaces": 3}}, "must be an object of coerce_one_of, "),
        ({"$ref": "#/$defs/missing"}, "'/$defs/missing' does not exist"),
        ({"$ref": "https://example.com/schema.json"}, "does not fetch resources"),
        ({"type": "object", "properties": {f"p{n}": {} for n in range(20_000)}}, "20000 properties"),
        ({"type": "regex", "regex": "("}, "unclosed group"),
        ({"type": "regex", "regex": r"[^\s\S]"}, "nothing satisfies it"),
        ({"type": "grammar", "grammar": ""}, "Empty grammar"),
        ({"type": "grammar", "grammar": "start: what"}, "unknown name"),
        ({"type": "grammar", "grammar": "start: start"}, "nothing satisfies it"),
        ({"type": "grammar", "grammar": "start: <|unheard_of|>"}, "unknown special token"),
    ],
)
def test_a_constraint_that_cannot_be_kept_is_refused_at_once(qwen: Qwen, given: Any, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        qwen.chat("x", response_format=given)
    assert re.match("response_format: |a JSON schema |x-guidance in a JSON schema", str(caught.value))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_cannot_be_promised_is_ignored_aloud_where_asked(qwen: Qwen) -> None:
    schema = {"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2, "uniqueItems": True}
    asked: list[Any] = [
        {"type": "json_schema", "json_schema": {"schema": schema, "strict": False}},
        {**schema, "x-guidance": {"lenient": True}},
    ]
    for given in asked:
        with pytest.warns(
            UserWarning, match=r"""the JSON schema's "uniqueItems" cannot be promised, so that it is ig"""
        ):
            reply = qwen.chat("x", response_format=given)
        assert re.fullmatch(r"\[[12], [12]\]", reply.text)


def test_a_schema_may_ask_for_its_own_spacing(qwen: Qwen) -> None:
    schema = {"const": {"a": [1, 2]}, "x-guidance": {"item_separator": ",", "key_separator": ":"}}
    assert qwen.chat("x", response_format=schema).text == '{"a":[1,2]}'


def test_a_model_without_an_ending_cannot_follow_a_grammar(qwen: Qwen) -> None:
    with pytest.raises(UnsupportedError, match="no token that ends a reply"):
        GrammarCompiler(qwen.tokenizer, stop_ids=()).compile(Lark('start: "a"'))


def test_the_missing_extra_names_its_command(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtraError, match=r"llguidance is not installed: run .*tools"):
        qwen.chat("x", response_format=SCHEMA)


def test_what_is_asked_again_is_compiled_once(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    original = GrammarCompiler._compile

    def counted(self: GrammarCompiler, written: str) -> Any:
        compiled.append(written)
        return original(self, written)

    monkeypatch.setattr(GrammarCompiler, "_compile", counted)
    fresh = compiler(qwen)
    for number in range(18):
        fresh.compile(Regex(f"a{number}"))
        fresh.compile(Regex("always"))
    assert len(compiled) == 20  # it was forgotten once, when as many others had come
    assert len(fresh._compiled) == 16


def test_threads_and_tasks_ask_at_once(qwen: Qwen) -> None:
    fresh = copy.copy(qwen)
    expected = [qwen.chat("x", response_format=SCHEMA, seed=seed, max_new_tokens=60) for seed in range(6)]

    async def ask() -> list[qwen7b.Reply]:
        calls = (fresh.achat("x", response_format=SCHEMA, seed=seed, max_new_tokens=60) for seed in range(3, 6))
        return await asyncio.gather(*calls)

    found: dict[int, qwen7b.Reply] = {}

    def answer(seed: int) -> None:
        found[seed] = fresh.chat("x", response_format=SCHEMA, seed=seed, max_new_tokens=60)

    threads = [threading.Thread(target=answer, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    last = asyncio.run(ask())
    for thread in threads:
        thread.join()
    assert [*(found[seed] for seed in range(3)), *last] == expected


def test_a_model_that_has_followed_a_grammar_is_pickled_without_it(qwen: Qwen) -> None:
    again: Qwen = pickle.loads(pickle.dumps(qwen))
    assert again.chat("x", response_format=SCHEMA, max_new_tokens=60) == qwen.chat(
        "x", response_format=SCHEMA, max_new_tokens=60
    )
