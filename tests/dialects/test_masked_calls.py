"""Whatever a grammar lets through is read: calls that satisfy their schemas where there are calls, else content."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dialects.matching import new_matcher
from dialects.reading_calls import read
from qwen7b.dialects import read_definitions
from qwen7b.dialects.arguments import load_object
from qwen7b.dialects.registry import find_dialect
from qwen7b.text import Tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1},
        "unit": {"type": "string", "enum": ["c", "f"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city"],
}
TOOLS = read_definitions([{"name": "weather", "parameters": SCHEMA}, {"name": "天气.now"}])
PIECES = [
    *(
        "<tool_call>",
        "</tool_call>",
        "\n",
        "```json\n",
        "```",
        "✿FUNCTION✿:",
        "✿ARGS✿:",
        "✿RESULT✿",
        "[",
        "{",
        '"name": "',
        '"',
        "}",
    ),
    *(
        "]",
        ", ",
        ": ",
        "weather",
        "天气.now",
        "name",
        "arguments",
        '{"name": "Alice"}',
        "a",
        " ",
        "1",
        "'",
        "\\",
        "None",
    ),
    *(
        '"city": "',
        '"days": ',
        '"unit": "',
        '"tags": [',
        "weather\n",
        '{"name": "weather", "arguments": {"city": "',
        '\n[{"name": "',
    ),
]


def random_reply(tokenizer: Tokenizer, grammar: str, seed: int) -> str | None:
    """A reply that the grammar takes, made of pieces and of single tokens at random; None if it came to no end."""
    matcher, chance = new_matcher(tokenizer, grammar), random.Random(seed)
    ids: list[int] = []
    for _ in range(120):
        if matcher.is_stopped() or (matcher.is_accepting() and chance.random() < 0.1):
            break
        piece = tokenizer.encode(chance.choice(PIECES), allowed_special="all")
        taken = piece[: matcher.try_consume_tokens(piece)] if chance.random() < 0.8 else []
        if not taken:
            mask = matcher.compute_bitmask()
            allowed = [id for id in range(tokenizer.vocab_size) if mask[id // 8] >> id % 8 & 1]
            allowed = [id for id in allowed if id != tokenizer.im_end_id]
            if not allowed:
                break
            taken = [chance.choice(allowed)]
            assert matcher.consume_token(taken[0])
        ids += taken
    assert not matcher.is_error(), matcher.get_error()
    return tokenizer.decode(ids) if matcher.is_accepting() else None


@pytest.mark.parametrize("choice", ["auto", "required", "天气.now", "none"])
@pytest.mark.parametrize("name", ["tool_call", "coder", "qwen-fn"])
def test_every_reply_that_a_grammar_takes_is_read(caller: Tokenizer, name: str, choice: str) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema")
    dialect = find_dialect(name, caller)
    schemas = {tool.name: tool.schema for tool in TOOLS}
    num_replies = num_calls = 0
    for seed in range(40):
        parallel = seed % 2 == 0
        text = random_reply(caller, dialect.grammar(TOOLS, choice=choice, parallel=parallel), seed)
        if text is None:
            continue
        num_replies += 1
        reply = read(dialect, text, tools=TOOLS)
        num_calls += len(reply.calls)
        for call in reply.calls:
            arguments = load_object(call.arguments)
            jsonschema.validate(arguments, {"additionalProperties": False, **schemas[call.name]})
            assert call.name == choice or choice in ("auto", "required")
        if choice not in ("auto", "none"):
            assert reply.calls and not reply.content
        assert parallel or len(reply.calls) <= 1
    assert num_replies > 8
    assert (num_calls > 0) == (choice != "none")
