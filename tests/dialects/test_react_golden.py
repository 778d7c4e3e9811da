"""The original's own results: prompts of its first page on ReAct, its demo and its server, and what these read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import qwen7b.tools
from qwen7b.text import Tokenizer
from qwen7b.text.chatml import END, START

Case = dict[str, Any]


@pytest.fixture(scope="module")
def cases(golden: Path) -> list[Case]:
    path = golden / "react.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def of_kind(cases: Sequence[Case], kind: str, *, count: int) -> list[Case]:
    found = [case for case in cases if case["kind"] == kind]
    assert len(found) >= count
    return found


def written(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of a prompt, whose control tokens stand only where ChatML puts them."""
    controls = [tokenizer.decode([id]) for id in ids if id in tokenizer.control_tokens.values()]
    text = tokenizer.decode(ids)
    num_messages = text.count(f"{START}system\n") + text.count(f"{START}user\n") + text.count(f"{START}assistant\n")
    assert controls == [START, END] * (num_messages - 1) + [START]
    return text


def test_the_prompts_of_the_server(qwen: Tokenizer, cases: list[Case]) -> None:
    for case in of_kind(cases, "api", count=10):
        ids = qwen7b.tools.chat_prompt(qwen, case["messages"], tools=case["functions"], dialect="react-api")
        assert written(qwen, ids) == case["prompt"]


def test_the_prompts_of_the_demo(qwen: Tokenizer, cases: list[Case]) -> None:
    for case in of_kind(cases, "demo", count=5):
        *past, (question, reply) = case["history"]
        assert reply == ""
        messages = [
            {"role": role, "content": content}
            for pair in past
            for role, content in zip(("user", "assistant"), pair, strict=True)
        ]
        messages.append({"role": "user", "content": question})
        ids = qwen7b.tools.chat_prompt(qwen, messages, tools=case["tools"], dialect="react-demo")
        assert written(qwen, ids) == case["prompt"]


def test_the_prompts_of_the_page(qwen: Tokenizer, cases: list[Case]) -> None:
    for case in of_kind(cases, "page", count=3):
        messages = [{"role": "user", "content": case["query"]}]
        text = written(qwen, qwen7b.tools.chat_prompt(qwen, messages, tools=case["tools"], dialect="react-page"))
        _, _, asked = text.partition(f"{START}user\n")
        assert asked == f"{case['prompt']}{END}\n{START}assistant\n"


def test_replies_are_read_as_the_original_reads_them(cases: list[Case]) -> None:
    for case in of_kind(cases, "parse", count=11):
        reply, expected = qwen7b.tools.parse(case["text"], dialect="react-api"), case["api"]
        call = expected["function_call"]
        assert reply.content == expected["content"]
        assert [(each.name, each.arguments) for each in reply.calls] == (
            [(call["name"], call["arguments"])] if call else []
        )
        reply, expected = qwen7b.tools.parse(case["text"], dialect="react-demo"), case["demo"]
        assert [(each.name, each.arguments) for each in reply.calls] == (
            [(expected["action"], expected["action_input"])] if expected["action"] else []
        )
        if not reply.calls:
            assert reply.content == expected["text"]
