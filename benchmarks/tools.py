"""Measures tools: masks by themselves, and calls that are held to a grammar beside those that are not.

    pip install --no-deps --target bfcl bfcl-eval==2026.3.23
    python benchmarks/tools.py [--rounds 3] [--data bfcl [--limit 20]] [--json]

Masks are timed on random walks through the schemas of the Model Context Protocol, as pydantic writes them, in the
demo's vocabulary, and in the text before a call; the time is that of the processor, so that other programs do not
count. Calls are made by the demo
model at 4 bits, constrained and free in turn, in each round both with the same question; with --data once more with the
questions of BFCL's simple, multiple and parallel. Prints medians beside the goals.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any

import mcp.types
import numpy as np
import torch
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import BaseModel
from rows import Row, print_rows

import qwen7b
from qwen7b.dialects import read_definitions
from qwen7b.dialects.registry import DIALECTS, find_dialect
from qwen7b.generate.grammar import GrammarCompiler
from qwen7b.generate.response_format import JsonSchema, Lark, read_response_format
from qwen7b.tasks.bfcl import Bfcl
from qwen7b.tasks.procedure import TaskPlan


def tool(name: str, description: str, required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = [
    tool(
        "get_current_weather",
        "The weather in a city now",
        ["city", "unit"],
        city={"type": "string", "description": "The city's name"},
        unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
    ),
    tool(
        "calculate_triangle_area",
        "The area of a triangle",
        ["base", "height"],
        base={"type": "integer", "description": "The length of its base"},
        height={"type": "integer", "description": "Its height"},
    ),
    tool(
        "book_table",
        "Book a table in a restaurant",
        ["restaurant", "people", "time"],
        restaurant={"type": "string"},
        people={"type": "integer", "minimum": 1},
        time={"type": "string", "description": "As HH:MM", "pattern": "^[0-2][0-9]:[0-5][0-9]$"},
        outside={"type": "boolean", "description": "Whether it should stand outside"},
    ),
]
QUESTIONS = [
    "What is the weather in Paris in celsius?",
    "Find the area of a triangle with a base of 10 and a height of 5.",
    "Book a table for four at Chez Paul, at half past seven in the evening, outside if they have one.",
    "北京现在多少摄氏度？",
]


def masks(*, length: int = 40) -> Iterator[Row]:
    """The time to mask a row of logits, and to prepare for it."""
    tokenizer = qwen7b.load_tokenizer("demo")
    compiler = GrammarCompiler(tokenizer, stop_ids=tokenizer.stop_ids)
    started = time.thread_time()
    compiler.compile(JsonSchema({"type": "object"}))
    yield Row("seconds to prepare the vocabulary, once", time.thread_time() - started, "<= 1", {})
    random = np.random.default_rng(0)
    models = [each for _, each in inspect.getmembers(mcp.types, inspect.isclass) if issubclass(each, BaseModel)]
    compiling, masking = [], []
    for model in models:
        constraint = read_response_format(model)
        assert constraint is not None
        started = time.thread_time()
        matcher = compiler.compile(constraint).new_matcher(num_prompt=0)
        compiling.append(time.thread_time() - started)
        ids: list[int] = []
        while len(ids) < length and tokenizer.stop_ids.isdisjoint(ids):
            logits_V = torch.from_numpy(random.standard_normal(tokenizer.vocab_size, dtype=np.float32))
            started = time.thread_time()
            masked_V = matcher(ids, logits_V)
            masking.append(time.thread_time() - started)
            ids.append(int(masked_V.argmax()))
            ids += matcher.force(ids) if tokenizer.stop_ids.isdisjoint(ids) else []
    figures = {"schemas": len(models), "masks": len(masking), "median": 1e3 * median(masking)}
    yield Row("ms to mask a row, 99th percentile", 1e3 * quantiles(masking, n=100)[-1], "< 1", figures)
    yield Row("ms to compile a schema, median", 1e3 * median(compiling), "", {"worst": 1e3 * max(compiling)})


TEXTS = [
    "I should look up the weather in Paris first; then I can answer in degrees Celsius.\nThe function `weather(city)` "
    'takes a city\'s name, "Paris" say, and returns 18 °C.\n\n',
    "我需要先查询北京现在的天气，然后用摄氏度回答。\n1. 先调用工具；\n2. 再给出答案。\n",
    "Here is code:\n```python\ndef f(x):\n    return {'a': [x, 1], \"b\": None}\n\nfor i in range(10):\n"
    "    print(f(i))\n```\n",
]


def free_text(*, num_rounds: int = 3) -> Iterator[Row]:
    """The time for a token of the text before a call: greedily, where a mask is seldom needed, and at random."""
    tokenizer = qwen7b.load_tokenizer("demo")
    compiler = GrammarCompiler(tokenizer, stop_ids=tokenizer.stop_ids)
    tools = read_definitions(TOOLS)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for name in DIALECTS:
        written = find_dialect(name, tokenizer).grammar(tools, choice="auto", parallel=True)
        grammar = compiler.compile(Lark(written))
        for text in num_rounds * TEXTS:
            ids = tokenizer.encode(text)
            matchers = {greedy: grammar.new_matcher(num_prompt=0, picks_likeliest=greedy) for greedy in seconds}
            for place, token_id in enumerate(ids):
                for greedy, matcher in matchers.items():
                    logits_V = torch.zeros(tokenizer.vocab_size)
                    logits_V[token_id] = 1.0
                    started = time.thread_time()
                    matcher(ids[:place], logits_V)
                    seconds[greedy].append(time.thread_time() - started)
    for greedy, what in ((True, "greedily"), (False, "at random")):
        figures = {"dialects": len(DIALECTS), "steps": len(seconds[greedy]), "median": 1e3 * median(seconds[greedy])}
        tail = 1e3 * quantiles(seconds[greedy], n=100)[-1]
        yield Row(f"ms for a token of free text before a call, picked {what}, 99th percentile", tail, "< 1", figures)


@dataclass(frozen=True)
class Asked:
    """A conversation, with the tools that it may call in OpenAI's form."""

    messages: list[dict[str, str]]
    tools: list[dict[str, Any]]


def bfcl_questions(folder: Path, limit: int | None) -> list[Asked]:
    """Questions of BFCL, the first of each category in turn."""
    task = Bfcl()
    plan = task.completed(TaskPlan(subjects=("simple", "multiple", "parallel"), limit=limit))
    items = sorted(task.found_items(folder, plan), key=lambda item: item.row)
    return [Asked(item.messages, json.loads(item.tools)) for item in items]


def calls(asked: Sequence[Asked], rounds: int, *, of: str, **settings: Any) -> Iterator[Row]:
    """The time of replies whose calls are held to their grammar beside free ones, and the share of valid calls."""
    qwen = qwen7b.load("demo", quantize="q4")
    seconds: dict[bool, list[float]] = {True: [], False: []}
    valid: dict[bool, list[bool]] = {True: [], False: []}
    for number in range(-1, rounds):
        for one in asked if number >= 0 else asked[:1]:  # the first of all warms up
            for constrain in (True, False):
                started = time.perf_counter()
                reply = qwen.chat(
                    one.messages,
                    tools=one.tools,
                    constrain_calls=None if constrain else False,
                    temperature=0,
                    **settings,
                )
                if number >= 0:
                    seconds[constrain].append(time.perf_counter() - started)
                    valid[constrain] += are_valid(reply, one.tools)
    ratio = median(held / free for held, free in zip(seconds[True], seconds[False], strict=True))
    figures = {"constrained": median(seconds[True]), "free": median(seconds[False]), "questions": len(asked)}
    yield Row(f"seconds of a constrained reply, of those of a free one, {of}", ratio, "<= 0.9", figures)
    shares = {constrain: fmean(found) for constrain, found in valid.items() if found}
    figures = {"calls": len(valid[True]), "free": shares.get(False, math.nan), "free calls": len(valid[False])}
    yield Row(f"share of constrained calls that are valid, {of}", shares.get(True, math.nan), "1", figures)


def are_valid(reply: qwen7b.Reply, tools: Sequence[dict[str, Any]]) -> list[bool]:
    """Whether each call of a reply names a tool, with JSON for arguments that satisfies its schema."""
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    found = []
    for call in reply.tool_calls:
        try:
            arguments = json.loads(call.arguments)
        except ValueError:
            found.append(False)
        else:
            found.append(call.name in schemas and Draft202012Validator(schemas[call.name]).is_valid(arguments))
    return found


def table(rounds: int, data: Path | None, limit: int | None) -> Iterator[Row]:
    yield from masks()
    yield from free_text()
    asked = [Asked([{"role": "user", "content": question}], TOOLS) for question in QUESTIONS]
    one_call: dict[str, Any] = {"tool_choice": "required", "parallel_tool_calls": False, "max_new_tokens": 96}
    yield from calls(asked, rounds, of="one call that must come", **one_call)
    if data is not None:
        yield from calls(bfcl_questions(data, limit), 1, of="BFCL", max_new_tokens=256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="the folder with bfcl-eval")
    parser.add_argument("--limit", type=int, help="so many questions of each category of BFCL")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print_rows(table(arguments.rounds, arguments.data, arguments.limit), as_json=arguments.json)


if __name__ == "__main__":
    main()
