"""The original's own results: every case of its tokenizer and of its chat prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qwen7b.text import Tokenizer, chat_prompt


@pytest.fixture(scope="module")
def cases(golden: Path) -> list[dict[str, Any]]:
    lines = (golden / "text.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_encoding_and_decoding(qwen: Tokenizer, cases: list[dict[str, Any]]) -> None:
    texts = [case for case in cases if case["kind"] == "encode"]
    assert len(texts) > 100
    for case in texts:
        assert qwen.encode(case["text"]) == case["ids_plain"]
        assert qwen.encode(case["text"], allowed_special="all") == case["ids_special_parsed"]
        assert qwen.decode(case["ids_plain"]) == case["decoded_plain"]
        assert qwen.decode(case["ids_special_parsed"]) == case["decoded"]


def test_chat_prompts(qwen: Tokenizer, cases: list[dict[str, Any]]) -> None:
    conversations = [case for case in cases if case["kind"] == "chat"]
    assert len(conversations) >= 40
    for case in conversations:
        messages = [{"role": "system", "content": case["system"]}]
        for question, answer in case["history"]:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        messages.append({"role": "user", "content": case["query"]})
        assert chat_prompt(qwen, messages, history_token_limit=case["history_token_limit"]) == case["ids"]


def test_the_vocabulary_is_the_original(qwen: Tokenizer) -> None:
    assert qwen.vocab_size == 151851
    assert (qwen.end_of_text_id, qwen.im_start_id, qwen.im_end_id) == (151643, 151644, 151645)
    assert qwen.control_tokens["<|extra_0|>"] == 151646 and qwen.control_tokens["<|extra_204|>"] == 151850
    assert qwen.stop_ids == {151643, 151644, 151645}
