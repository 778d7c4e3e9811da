"""Bodies of requests: OpenAI's fields and our keywords mean the same, and what is asked in vain is refused."""

from __future__ import annotations

from typing import Any

import pytest

from qwen7b.batch.request_body import RequestBody, read_body
from qwen7b.errors import Qwen7bError
from qwen7b.generate.call_settings import Call

QUESTION = [{"role": "user", "content": "1+1=?"}]
NOW = {"type": "function", "function": {"name": "now"}}


def read(call: Call = "chat", defaults: dict[str, Any] | None = None, **fields: Any) -> RequestBody:
    return read_body(
        {"messages" if call == "chat" else "prompt": QUESTION if call == "chat" else "x"} | fields, call, defaults or {}
    )


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        ({}, {}),
        ({"max_tokens": 5}, {"max_new_tokens": 5}),
        ({"max_completion_tokens": 5, "max_tokens": 5, "max_new_tokens": 5}, {"max_new_tokens": 5}),
        ({"model": "gpt-4o", "user": "me", "metadata": {"a": "b"}, "store": True}, {}),
        ({"stream": False, "best_of": 1}, {}),
        ({"tools": [NOW], "tool_choice": "required"}, {"tools": [NOW], "tool_choice": "required"}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ({"temperature": 0.5, "seed": 1, "top_p": 0.9}, {"temperature": 0.5, "seed": 1, "top_p": 0.9}),
        ({"temperature": 0, "seed": 1, "top_p": 0.9, "top_k": 3, "min_p": 0.1}, {"temperature": 0}),
        ({"temperature": 0.0, "presence_penalty": 1}, {"temperature": 0.0, "presence_penalty": 1}),
        ({"logit_bias": {"5": -100, "6": 1.5}}, {"logit_bias": {5: -100, 6: 1.5}}),
        ({"logprobs": True}, {"logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": 3}),
        ({"logprobs": False}, {}),
        ({"logprobs": False, "top_logprobs": 0}, {}),
        ({"logprobs": 2}, {"logprobs": 2}),
        ({"stop": None, "seed": None, "tools": None, "temperature": None}, {}),
        ({"stop": ["a", "b"], "history_token_limit": 9}, {"stop": ["a", "b"], "history_token_limit": 9}),
    ],
)
def test_fields_become_keywords(fields: dict[str, Any], settings: dict[str, Any]) -> None:
    assert read(**fields).settings == settings


def test_defaults_are_for_what_a_request_leaves_out() -> None:
    defaults = {"temperature": 0, "max_new_tokens": 9, "stop": ("x",)}
    assert read(defaults=defaults, max_tokens=3).settings == {**defaults, "max_new_tokens": 3}
    assert read(defaults=defaults, seed=3).settings == defaults
    assert read(defaults={"seed": 1}, temperature=0).settings == {"temperature": 0}
    assert read(defaults=defaults, temperature=0.7, seed=3).settings["seed"] == 3


def test_inputs() -> None:
    assert (read().inputs, read().n) == ([QUESTION], 1)
    assert read(n=3).n == 3
    assert read("complete", prompt=["a", "b"]).inputs == ["a", "b"]
    assert read("complete", control_tokens=True).settings == {"control_tokens": True}


@pytest.mark.parametrize(
    ("call", "fields", "message"),
    [
        ("chat", {"temprature": 1}, "no field 'temprature': did you mean temperature"),
        ("chat", {"frobnicate": 1}, "no field 'frobnicate': leave it out"),
        ("chat", {"prompt": "x"}, "no field 'prompt'"),
        ("chat", {"mesages": QUESTION, "messages": None}, "no field 'mesages': did you mean messages"),
        ("chat", {"messages": None}, "has no messages"),
        ("complete", {"prompt": None}, "has no prompt"),
        ("complete", {"prompt": []}, "prompt should be a text, the ids of one, or a list"),
        ("complete", {"prompt": 5}, "prompt should be a text, the ids of one, or a list"),
        ("complete", {"messages": QUESTION}, "no field 'messages'"),
        ("complete", {"history_token_limit": 5}, "no field 'history_token_limit'"),
        ("chat", {"control_tokens": True}, "no field 'control_tokens'"),
        ("chat", {"sampling": "greedy"}, "no field 'sampling'"),
        ("chat", {"processors": []}, "no field 'processors'"),
        ("chat", {"stream": True}, "stream cannot be True here"),
        ("complete", {"tools": [NOW]}, "no field 'tools'"),
        ("complete", {"echo": True}, "echo cannot be True"),
        ("chat", {"n": 0}, "n must be a whole number from 1 to 128, found 0"),
        ("chat", {"n": 129}, "n must be a whole number from 1 to 128, found 129"),
        ("chat", {"n": "2"}, "n must be a whole number"),
        ("chat", {"max_tokens": 5, "max_completion_tokens": 6}, "differ"),
        ("chat", {"top_logprobs": 2}, "without logprobs"),
        ("chat", {"logprobs": 3, "top_logprobs": 2}, "goes with logprobs set to true"),
        ("chat", {"logit_bias": {"x": 1}}, "logit_bias must map token ids to numbers"),
    ],
)
def test_what_cannot_be_done_is_refused(call: Call, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Qwen7bError, match=message):
        read(call, **fields)
