"""Measures tools: masks by themselves, and calls that are held to a grammar beside those that are not.

    python benchmarks/tools.py [--rounds 3] [--json]

Masks are timed on random walks through the schemas of the Model Context Protocol, as pydantic writes them, in the
demo's vocabulary; the time is that of the processor, so that other programs do not count. Calls are made by the demo
model at 4 bits, constrained and free in turn, in each round both with the same question. Prints medians beside the
goals.
"""

from __future__ import annotations

import argparse
import inspect
import json
import time
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any

import mcp.types
import numpy as np
import torch
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import BaseModel
from rows import Row, print_rows

import qwen7b
from qwen7b.generate.grammar import GrammarCompiler
from qwen7b.generate.response_format import JsonSchema, read_response_format


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
SCHEMAS = {each["function"]["name"]: each["function"]["parameters"] for each in TOOLS}


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


def calls(rounds: int) -> Iterator[Row]:
    """The time of calls that are held to their grammar, of those that are not."""
    qwen = qwen7b.load("demo", quantize="q4")
    settings: Any = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}
    settings |= {"temperature": 0, "max_new_tokens": 96}
    seconds: dict[bool, list[float]] = {True: [], False: []}
    valid = {True: 0, False: 0}
    for number in range(-1, rounds):
        for question in QUESTIONS if number >= 0 else QUESTIONS[:1]:  # the first of all warms up
            for constrain in (True, False):
                started = time.perf_counter()
                reply = qwen.chat(question, constrain_calls=constrain, **settings)
                if number >= 0:
                    seconds[constrain].append(time.perf_counter() - started)
                    valid[constrain] += is_valid(reply)
    count = rounds * len(QUESTIONS)
    ratio = median(held / free for held, free in zip(seconds[True], seconds[False], strict=True))
    figures = {"constrained": median(seconds[True]), "free": median(seconds[False])}
    yield Row("seconds of a constrained call, of those of a free one", ratio, "<= 0.9", figures)
    yield Row("share of constrained calls that are valid", valid[True] / count, "1", {"free": valid[False] / count})


def is_valid(reply: qwen7b.Reply) -> bool:
    """Whether a reply calls one tool, with arguments that satisfy its schema."""
    if len(reply.tool_calls) != 1 or reply.tool_calls[0].name not in SCHEMAS:
        return False
    try:
        arguments = json.loads(reply.tool_calls[0].arguments)
    except ValueError:
        return False
    return bool(Draft202012Validator(SCHEMAS[reply.tool_calls[0].name]).is_valid(arguments))


def table(rounds: int) -> Iterator[Row]:
    yield from masks()
    yield from calls(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print_rows(table(arguments.rounds), as_json=arguments.json)


if __name__ == "__main__":
    main()
