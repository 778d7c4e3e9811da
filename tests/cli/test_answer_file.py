"""`chat` and `complete` with `--input`: files of requests, their answers, and what is said of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

import qwen7b
from stepping import interrupt_step

Run = Callable[..., Result]


@pytest.fixture
def verb(run: Run, tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb with the tiny model, which is loaded but once."""
    qwen = qwen7b.load(tiny_chat_checkpoint, quantize="none")
    monkeypatch.setattr(qwen7b, "load", lambda model, **settings: qwen)
    return lambda verb, *arguments, **others: run(verb, "--max-new-tokens", "4", *arguments, **others)


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    body = {"messages": [{"role": "user", "content": "hello"}], "temperature": 1.5}
    lines = [
        '"hello"',
        json.dumps({"prompt": "你好", "max_tokens": 2, "id": "mine"}, ensure_ascii=False),
        "{not json",
        json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}),
        json.dumps({"prompt": "hello", "temprature": 1}),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_file_is_answered_into_a_file(verb: Run, requests: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = verb("chat", "--input", str(requests), "--output", str(out), "--seed", "3")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "Answering 5 requests.",
        f"3 of 5 requests are answered in {out}; 2 failed, and their lines say why.",
    ]
    answers = {answer.get("index", answer.get("custom_id")): answer for answer in read(out.read_text("utf-8"))}
    assert set(answers) == {0, 1, 2, 4, "a"}
    assert answers[1]["id"] == "mine" and answers[1]["usage"]["completion_tokens"] <= 2
    assert "line 3 is not JSON" in answers[2]["error"]["message"]
    assert "did you mean temperature" in answers[4]["error"]["message"]
    assert answers["a"]["response"]["body"]["usage"]["completion_tokens"] <= 4

    text = requests.read_text("utf-8").replace("{not json", '"hello"').replace("temprature", "temperature")
    requests.write_text(text, encoding="utf-8")
    result = verb("chat", "--input", str(requests), "--output", str(out), "--seed", "3")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "Answering 2 requests, 3 of 5 being answered already.",
        f"5 of 5 requests are answered in {out}.",
    ]
    assert len(read(out.read_text("utf-8"))) == 5
    before = out.read_bytes()
    assert verb("chat", "--input", str(requests), "--output", str(out), "--seed", "3").exit_code == 0
    other = verb("chat", "--input", str(requests), "--output", str(out), "--seed", "4")
    assert other.exit_code == 1 and "has answers to other requests" in other.stderr
    assert out.read_bytes() == before


def test_standard_input_and_output(verb: Run) -> None:
    result = verb("complete", "--input", "-", "--output", "-", input='"hello"\n"the"\n')
    assert result.exit_code == 0
    assert sorted(answer["prompt"] for answer in read(result.stdout)) == ["hello", "the"]
    assert "2 of 2 requests are answered." in result.stderr
    assert read(verb("complete", "--input", "-", input='"hello"').stdout)[0]["prompt"] == "hello"


def test_json_sums_up(verb: Run, requests: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = verb("chat", "--input", str(requests), "--output", str(out), "--json")
    summary = json.loads(result.stdout)
    assert summary.pop("seconds") > 0
    expected = {"input": str(requests), "output": str(out), "requests": 5, "answered": 3, "failed": 2}
    assert (result.exit_code, summary) == (1, {**expected, "answered_before": 0})


def test_ctrl_c_keeps_what_is_done(verb: Run, requests: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out.jsonl"
    interrupt_step(monkeypatch, 3)
    arguments = ("chat", "--input", str(requests), "--output", str(out), "--seed", "3", "--max-new-tokens", "9")
    result = verb(*arguments)
    assert result.exit_code == 130
    assert f"1 of 5 requests are answered in {out}; the same command goes on with the others." in result.stderr
    assert "Answering 4 requests, 1 of 5 being answered already." in verb(*arguments).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chat", "--output", "x"], "--output is where the answers to --input go"),
        (["chat", "Hi", "--input", "x"], "a prompt and --input are two things to answer"),
        (["complete", "--input", "x", "--json"], "give an --output"),
        (["complete", "--input", "x", "--json", "--output", "-"], "give an --output"),
        (["chat", "--input", "x", "--continue"], "--continue goes on with one conversation"),
        (["chat", "--input", "missing.jsonl"], "--input missing.jsonl cannot be read: No such file"),
        (["chat", "--input", "."], "it is a folder"),
    ],
)
def test_what_does_not_go_together_is_told_before_a_model_is_loaded(
    run: Run, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qwen7b, "load", lambda *_, **__: pytest.fail("a model is loaded"))
    result = run(*arguments)
    assert result.exit_code == 1 and message in result.stderr


def test_a_file_without_requests_and_one_that_is_not_ours(verb: Run, requests: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert "the file has no requests" in verb("chat", "--input", str(empty)).stderr
    before = requests.read_bytes()
    result = verb("chat", "--input", str(requests), "--output", str(requests))
    assert result.exit_code == 1 and "line 1 of" in result.stderr and requests.read_bytes() == before
