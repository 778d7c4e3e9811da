"""`eval plugin`: own questions are written, asked and scored; mistakes are one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tiny_bfcl import write_bfcl

Run = Callable[..., Result]


@pytest.fixture
def data(run: Run, tmp_path: Path) -> Path:
    result = run("eval", "plugin", "--write-data", str(tmp_path / "plugin"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == [str(tmp_path / "plugin" / f"{name}.jsonl") for name in ("positive", "negative")]
    return tmp_path / "plugin"


def test_the_three_measures_are_printed_and_reported(run: Run, data: Path, tiny_chat_checkpoint: Path) -> None:
    own = ["--data", str(data), "--limit", "1", "--model", str(tiny_chat_checkpoint), "--context-length", "2048"]
    own += ["--procedure", "original-2023-12", "--out", str(data / "out")]
    result = run("eval", "plugin", *own)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("Plugins (original-2023-12, own, 0-shot, chat, q8): 0.00 (95 %: ")
    assert "  input ROUGE-L    " in result.stdout and "  false positives    " in result.stdout
    assert "\n2 items" in result.stdout and (data / "out" / "report.html").exists()
    again = run(
        "eval", "plugin", *own, "--procedure", "original-2023-12", "--out", str(data / "out"), "--resume", "--json"
    )
    document = json.loads(again.stdout)
    assert document["task"] == "plugin" and document["signature"]["versions"]["json5"] and document["chat"]
    dry = json.loads(run("eval", "plugin", "--data", str(data), "--limit", "1", "--dry-run", "--json").stdout)
    assert [item["id"] for item in dry] == ["positive/0", "negative/0"] and "Begin!" in dry[0]["prompt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/none"], "/none/positive.jsonl is not there: write it by 'qwen7b eval plugin --write-data /none'"),
        (["--seed", "1"], "--seed chooses the questions that --write-data DIR writes"),
        (["--data", "/none", "--subjects", "positive"], "No such option: --subjects"),
        (["--data", "/none", "--split", "v2"], "plugin has no split 'v2': choose own or v20231206 or v1"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: list[str], message: str) -> None:
    result = run("eval", "plugin", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1


def test_an_agents_code_is_evaluated_in_the_sandbox_once_it_is_allowed(
    run: Run, tmp_path: Path, tiny_chat_checkpoint: Path, any_protection: None
) -> None:
    own = ["eval", "hf-agent", "--limit", "1", "--model", str(tiny_chat_checkpoint), "--context-length", "2048"]
    refused = run(*own)
    assert refused.exit_code == 1 and "hf-agent runs code that the model writes" in refused.stderr
    result = run(*own, "--allow-code", "--out", str(tmp_path / "out"), "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["score"] == 0 and document["more"] == {"tools selected": 0, "tools used": 0}
    assert "1 reply without one 'Answer:'" in document["remark"] and document["abstained"] == 1
    assert run(*own, "--allow-code", "--out", str(tmp_path / "out"), "--resume").exit_code == 0


def test_bfcls_categories_are_chosen_by_name(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("llguidance", reason="constrained calls need the extra tools")
    own = ["eval", "bfcl", "--data", str(write_bfcl(tmp_path)), "--dry-run", "--json"]
    document = json.loads(run(*own, "--categories", "irrelevance,live_relevance").stdout)
    assert [(item["subject"], item["answer"]) for item in document] == [
        *[("irrelevance", "no call"), ("live_relevance", "any call")]
    ]
    shown = run(*own[:-1], "--categories", "simple").stdout
    assert "What is 2 + 3?\n=== tools: [{" in shown and '"name": "math.add"' in shown
    for arguments, message in (
        (["--categories", "java"], "bfcl has no subject 'java': choose"),
        (["--dialect", "sql"], "dialect must be one of react-page"),
        (["--procedure", "original-2023-08"], "No such option: --procedure"),
    ):
        result = run(*own, *arguments)
        assert (result.exit_code, result.stdout) == (1, "") and message in result.stderr
