"""The demo model, for real: it answers, and alone, streamed and in a batch it answers the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import qwen7b
from qwen7b import Greedy, Qwen

pytestmark = pytest.mark.demo

QUESTIONS = {
    "中国的首都是哪里？": "北京",
    "What is the capital of France?": "Paris",
    "1+1=?": "2",
}


@pytest.fixture(scope="module")
def qwen(demo_gguf: Path) -> Qwen:
    return qwen7b.load(demo_gguf)


def test_answers_alone_streamed_and_in_a_batch_are_the_same_and_right(qwen: Qwen) -> None:
    settings = {"sampling": Greedy(), "max_new_tokens": 24}
    replies = qwen.chat_batch(list(QUESTIONS), **settings)  # type: ignore[arg-type]
    for (question, answer), reply in zip(QUESTIONS.items(), replies, strict=True):
        assert answer in reply.text
        assert reply == qwen.chat(question, **settings)  # type: ignore[arg-type]
        *_, last = qwen.stream(question, **settings)  # type: ignore[arg-type]
        assert last.reply == reply


def test_conversation_remembers_its_first_turn(qwen: Qwen) -> None:
    messages = [
        {"role": "user", "content": "My name is Alice. Say hello."},
        {"role": "assistant", "content": "Hello, Alice!"},
        {"role": "user", "content": "What is my name?"},
    ]
    assert "Alice" in qwen.chat(messages, sampling=Greedy(), max_new_tokens=16).text


def test_text_is_continued(qwen: Qwen) -> None:
    reply = qwen.complete("def fibonacci(n):\n    ", sampling=Greedy(), max_new_tokens=24, stop="\n\n")
    assert "return" in reply.text or "if" in reply.text


def test_right_answers_are_likelier_than_wrong_ones(qwen: Qwen) -> None:
    contexts = ["Question: What is the capital of France?\nAnswer:", "1 + 1 =", "中国的首都是"]
    choices = [[" Rome", " Paris"], [" 7", " 2"], ["上海", "北京"]]
    for wrong, right in qwen.score(contexts, choices):
        assert right.logprob > wrong.logprob


def test_texts_of_like_content_have_like_embeddings(qwen: Qwen) -> None:
    pairs = [
        ("The cat sleeps on the sofa.", "A kitten is dozing on the couch."),
        ("Interest rates rose again in March.", "The central bank made borrowing more expensive."),
        ("def add(a, b): return a + b", "function sum(x, y) { return x + y; }"),
    ]
    vectors = qwen.embed([text for pair in pairs for text in pair])
    likeness = vectors @ vectors.T - 2 * torch.eye(len(vectors))
    assert likeness.argmax(dim=-1).tolist() == [1, 0, 3, 2, 5, 4]
