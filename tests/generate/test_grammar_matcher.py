"""A reply on its way through a grammar: what is forced, read again, or interrupted keeps to it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import qwen7b
from qwen7b import Greedy, Qwen, Sample
from qwen7b.dialects import read_definitions
from qwen7b.dialects.registry import DIALECTS
from qwen7b.errors import UnsupportedError
from qwen7b.generate.engine import Engine
from qwen7b.generate.grammar import GrammarCompiler
from qwen7b.generate.grammar_matcher import GrammarMatcher
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State
from qwen7b.generate.response_format import Constraint, JsonSchema, Lark, Regex
from stepping import count_read, interrupt_step


@pytest.fixture(scope="module")
def qwen(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="none")


def compiler(qwen: Qwen) -> GrammarCompiler:
    return GrammarCompiler(qwen.tokenizer, stop_ids=qwen.stop_ids)


def test_what_the_grammar_forces_takes_no_steps(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = count_read(monkeypatch)
    word = "abcdefghijklmnopqrstuvwxyz" * 2
    reply = qwen.complete("x", response_format={"type": "regex", "regex": word}, max_new_tokens=99)
    assert reply.text == word and reply.usage.completion_tokens > 50
    assert len(passes) <= 3


def test_text_is_forced_in_the_model_s_own_tokens(qwen: Qwen) -> None:
    # "the" is one token of the vocabulary, and "hell" is: neither is spelled out in letters.
    reply = qwen.complete("x", response_format={"type": "regex", "regex": "hello the inner"})
    assert reply.text == "hello the inner" and reply.token_ids[1:] == qwen.tokenizer.encode(reply.text)[1:]


def test_text_that_nfc_would_change_is_kept(qwen: Qwen) -> None:
    text = "cafe\u0301 \u212b"
    reply = qwen.complete("x", response_format={"type": "regex", "regex": text})
    assert reply.text == text and reply.finish_reason == "stop"


def test_the_matcher_takes_in_what_was_added_however_often_it_is_asked(qwen: Qwen) -> None:
    grammar = compiler(qwen).compile(Regex("(ab|cd|ad)x"))
    a, b, c, d, x = (qwen.tokenizer.encode(letter)[0] for letter in "abcdx")

    def allowed(*reply: int, by: GrammarMatcher | None = None) -> set[int]:
        matcher = by or grammar.new_matcher(num_prompt=2)
        logits_V = matcher([7, 7, *reply], torch.zeros(qwen.tokenizer.vocab_size))
        return {*logits_V.isfinite().nonzero()[:, 0].tolist()}

    assert allowed() == {a, c} and allowed(a) == {b, d} and allowed(a, d) == {x} and allowed(c) == {d}
    matcher = grammar.new_matcher(num_prompt=2)
    for reply, expected in (((), {a, c}), ((a,), {b, d}), ((a,), {b, d}), ((a, b, x), qwen.stop_ids)):
        assert allowed(*reply, by=matcher) == expected
    matcher = grammar.new_matcher(num_prompt=2)
    assert matcher.force([7, 7, c]) == [d, x] and matcher.force([7, 7, c, d, x])[0] in qwen.stop_ids
    matcher = grammar.new_matcher(num_prompt=2)
    with pytest.raises(UnsupportedError, match="the reply cannot follow its grammar"):
        allowed(b, by=matcher)
    with pytest.raises(UnsupportedError, match="the reply cannot follow its grammar"):
        allowed(b, a, by=matcher)  # whatever comes after an error: it never allows all


@pytest.mark.parametrize("speculate", [None, "ngram"])
def test_a_reply_that_gives_way_and_is_read_again_keeps_to_its_grammar(
    qwen: Qwen, monkeypatch: pytest.MonkeyPatch, speculate: str | None
) -> None:
    monkeypatch.setattr("qwen7b.generate.slots._ROOM", 16)
    grammar = compiler(qwen).compile(Regex("(hello (there)?|[ab]{3}-){30,}"))

    def requests() -> list[Request]:
        matchers = [grammar.new_matcher(num_prompt=2) for _ in range(4)]
        return [
            Request(ids=[5, n], max_length=120, sampling=Sample(seed=n), processors=[matcher], forced=matcher.force)
            for n, matcher in enumerate(matchers)
        ]

    expected = requests()
    for request in expected:
        run(engine_of(qwen), request)
    actual = requests()
    for request in actual:
        request.speculate = speculate
    states = run(engine_of(qwen, max_bytes=qwen.model.cache_bytes(capacity=200)), *actual)
    gave_way = [
        before[n] is State.DECODING and after[n] is State.WAITING
        for before, after in pairwise(states)
        for n in range(4)
    ]
    assert any(gave_way) or speculate  # drafts, as they come, may let each end in time
    assert [request.ids for request in actual] == [request.ids for request in expected]
    assert [request.error for request in actual] == [None] * 4
    assert all(re.match("hello|[ab]{3}-", qwen.tokenizer.decode(request.ids[2:])) for request in actual)


def engine_of(qwen: Qwen, **options: Any) -> Engine:
    return Engine(qwen.model, vocab_size=qwen.tokenizer.vocab_size, **options)


def run(engine: Engine, *requests: Request) -> list[tuple[State, ...]]:
    """Step until all are over, and return their states after each step."""
    for request in requests:
        engine.add(request)
    states = []
    while engine.step():
        states.append(tuple(request.state for request in requests))
    return states


def test_ctrl_c_keeps_what_was_said(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Any = {"response_format": {"type": "regex", "regex": "([ab] ){30}"}, "max_new_tokens": 24}
    whole = qwen.chat("x", **settings)
    interrupt_step(monkeypatch, 3)
    reply = qwen.chat("x", **settings)
    assert reply.finish_reason == "interrupted" and reply.token_ids
    assert reply.token_ids == whole.token_ids[: len(reply.token_ids)] and reply.token_ids != whole.token_ids
    assert qwen.chat("x", **settings) == whole


CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["c", "f"]}},
    "required": ["city"],
}
CONSTRAINTS = {
    "nothing": Regex(""),
    "regex": Regex("[a-m ]*(ab|cd)x+"),
    "schema": JsonSchema(CITY),
    **{
        name: Lark(
            dialect.grammar(read_definitions([{"name": "go", "parameters": CITY}]), choice="auto", parallel=True)
        )
        for name, dialect in DIALECTS.items()
        if name != "tool_call"  # the tiny vocabulary has no such control token
    },
}


@pytest.mark.parametrize("constraint", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_asking_for_the_likeliest_picks_what_a_mask_would_leave(qwen: Qwen, constraint: Constraint) -> None:
    grammar, size = compiler(qwen).compile(constraint), qwen.tokenizer.vocab_size
    text = qwen.tokenizer.encode("Thought: the inn.\nAction: go\nHere:\n```json\n[")
    num_asked = num_masked = 0
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        asking, masking = (grammar.new_matcher(num_prompt=0, picks_likeliest=picks) for picks in (True, False))
        ids: list[int] = []
        while len(ids) < 40 and qwen.stop_ids.isdisjoint(ids):
            logits_V = torch.randn(size, generator=generator).round()  # in which many are alike
            if seed % 2 and len(ids) < len(text):
                logits_V[text[len(ids)]] = 9.0
            left_V = asking(ids, logits_V.clone())
            picked = int(masking(ids, logits_V.clone()).argmax())
            assert int(left_V.argmax()) == picked
            num_asked += torch.equal(left_V, logits_V)
            num_masked += not torch.equal(left_V, logits_V)
            ids += [picked]
            if seed % 3 and picked not in qwen.stop_ids:
                assert asking.force(ids) == masking.force(ids)
                ids += asking.force(ids)
    assert num_masked and (num_asked or constraint == CONSTRAINTS["nothing"])


def test_greedy_replies_are_those_that_masks_make(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    def replies() -> list[list[int]]:
        settings: dict[str, Any] = {"response_format": CITY, "max_new_tokens": 24}
        samplings = [
            Greedy(),
            Sample(temperature=1.0, seed=3),
            Greedy(repetition_penalty=1.3),
            Greedy(logit_bias={65: 9}),
        ]
        found = [qwen.complete("x", sampling=sampling, **settings).token_ids for sampling in samplings]
        return [*found, qwen.complete("x", temperature=0, logprobs=2, **settings).token_ids]

    asked: list[int] = []
    allows = GrammarMatcher._allows

    def count(matcher: GrammarMatcher, token_id: int) -> bool:
        asked.append(token_id)
        return allows(matcher, token_id)

    monkeypatch.setattr(GrammarMatcher, "_allows", count)
    quick = replies()
    assert asked
    monkeypatch.setattr(GrammarMatcher, "_allows", lambda *_: False)
    assert quick == replies()
