"""Constrained calls: whatever a random model likes to say in a real vocabulary, each parses and fits its schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

import tiny
from dialects.reading_calls import read
from qwen7b import Qwen
from qwen7b.dialects import Dialect, ToolDefinition
from qwen7b.dialects.registry import DIALECTS
from qwen7b.text import load_tokenizer

NAMES = st.sampled_from(["get_weather", "math.sqrt", "查询天气", "f", "get_weather_now", "say-it"])
KEYS = st.sampled_from(["city", "unit", "城市", "a b", 'quo"ted', "x", "y"])
SCALARS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.integers(0, 6).map(lambda most: {"type": "string", "maxLength": most}),
    st.lists(st.sampled_from(["celsius", "摄氏度", 'a "b"', "\n", 3, None, 1.5]), min_size=1, unique=True).map(
        lambda values: {"enum": values}
    ),
    st.integers(-50, 50).map(lambda least: {"type": "integer", "minimum": least, "maximum": least + 9}),
    st.just({"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.25}),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "string", "pattern": "^[a-z]{2}[0-9]$"}]),
)


def objects(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(KEYS, parts, max_size=4).flatmap(
        lambda properties: st.lists(st.sampled_from([*properties]) if properties else st.nothing(), unique=True).map(
            lambda required: (
                {"type": "object", "properties": properties, "required": required} | {"additionalProperties": False}
            )
        )
    )


SCHEMAS = st.recursive(
    SCALARS,
    lambda parts: st.one_of(
        objects(parts),
        st.tuples(parts, st.integers(0, 3)).map(lambda it: {"type": "array", "items": it[0], "maxItems": it[1]}),
        st.lists(parts, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts}),
    ),
    max_leaves=5,
)
TOOLS = st.lists(
    st.builds(lambda name, parameters: ToolDefinition(name=name, parameters=parameters), NAMES, objects(SCHEMAS)),
    min_size=1,
    max_size=3,
    unique_by=lambda tool: tool.name,
)


@pytest.fixture(scope="module")
def qwen(demo_gguf: Path) -> Qwen:
    """A random model with the demo's vocabulary."""
    model = tiny.model(vocab_rows=151936, trained_length=4096, context_length=4096, rotary_scaling=None, logn=False)
    return Qwen(model, load_tokenizer(demo_gguf))


def led_by(ids: Sequence[int], num_prompt: int) -> Callable[[Sequence[int], torch.Tensor], torch.Tensor]:
    """A processor after which a reply begins with these ids."""

    def lead(so_far: Sequence[int], logits_V: torch.Tensor) -> torch.Tensor:
        place = len(so_far) - num_prompt
        if place < len(ids):
            logits_V = torch.full_like(logits_V, -torch.inf).index_fill_(0, torch.tensor([ids[place]]), 0.0)
        return logits_V

    return lead


@pytest.mark.demo
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@given(tools=TOOLS, parallel=st.booleans(), by_name=st.booleans(), seed=st.integers(0, 999))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_call_parses_and_satisfies_its_schema(
    qwen: Qwen, dialect: Dialect, tools: list[ToolDefinition], parallel: bool, by_name: bool, seed: int
) -> None:
    grammar = dialect.grammar(tools, choice=tools[0].name if by_name else "required", parallel=parallel)
    prompt = qwen.tokenizer.encode("Call!")
    # A random model would think for ever: it is led to the call, where the dialect has words before one.
    lead = qwen.tokenizer.encode("I see.\nAction:") if dialect.name.startswith("react") else []
    reply = qwen.complete(
        prompt,
        response_format={"type": "grammar", "grammar": grammar},
        processors=[led_by(lead, len(prompt))],
        stop=dialect.stop,
        seed=seed,
        temperature=1.0,
        max_new_tokens=1000,
    )
    assume(reply.finish_reason == "stop")  # a number of calls has no end
    found = read(dialect, reply.text, tools=tools)
    by = {tool.name: tool for tool in tools[: 1 if by_name else None]}
    assert found.calls and (parallel or len(found.calls) == 1)
    for call in found.calls:
        Draft202012Validator(by[call.name].schema).validate(json.loads(call.arguments))
    assert not found.content.strip() or lead


@pytest.mark.demo
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_reply_that_may_not_call_makes_no_call(qwen: Qwen, dialect: Dialect) -> None:
    tools = [ToolDefinition(name="f"), ToolDefinition(name="g")]
    grammar = dialect.grammar(tools, choice="none", parallel=False)
    for seed in range(2):
        reply = qwen.complete(
            "x", response_format={"type": "grammar", "grammar": grammar}, seed=seed, max_new_tokens=40
        )
        assert read(dialect, reply.text, tools=tools).calls == ()
