"""`perplexity`: what it prints, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text("the hell in there 你好 " * 12, encoding="utf-8")
    return str(file)


def test_json_is_a_list_of_results_and_nothing_else(run: Run, tiny_chat_checkpoint: Path, text: str) -> None:
    result = run("perplexity", text, text, "--model", str(tiny_chat_checkpoint), "--length", "32", "--json")
    documents = json.loads(result.stdout)
    assert documents[0].keys() >= {"file", "method", "precision", "length", "perplexity", "tokens_scored", "seconds"}
    assert (documents[0]["file"], documents[0]["precision"], documents[0]["length"]) == (text, "none", 32)


def test_a_line_a_result(run: Run, tiny_chat_checkpoint: Path, text: str) -> None:
    arguments = ("perplexity", text, "--model", str(tiny_chat_checkpoint), "--length", "32", "--max-windows", "1")
    assert f"{text}  none  length 32: perplexity " in run(*arguments).stdout
    assert "over 31 tokens" in run(*arguments).stdout


def test_formats_are_compared_side_by_side(
    run: Run, tiny_chat_checkpoint: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path))
    arguments = ("--model", str(tiny_chat_checkpoint), "--length", "32", "--quantize", "none,q8,q4", "--json")
    none, q8, q4 = json.loads(run("perplexity", text, *arguments).stdout)
    assert [none["precision"], q8["precision"], q4["precision"]] == ["none", "q8", "q4"]
    assert q8["perplexity"] == pytest.approx(none["perplexity"], rel=0.05)
    assert abs(q8["perplexity"] - none["perplexity"]) < abs(q4["perplexity"] - none["perplexity"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quantize", "none,int3"], "--quantize takes some of none,q8,q4,nf4 with commas between, found 'int3'"),
        (["--length", "1000"], "fewer than a window of 1000"),
        (["--threads", "1000"], "--threads must lie between 1 and"),
    ],
)
def test_mistakes_are_one_line(
    run: Run, tiny_chat_checkpoint: Path, text: str, arguments: list[str], message: str
) -> None:
    result = run("perplexity", text, "--model", str(tiny_chat_checkpoint), *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1
