"""`qwen7b train labels`, as its user sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny

DATA = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "the \x1b[31m<b> 你"}]}]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Two conversations, and a tokenizer."""
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in DATA * 2))
    return str(data), str(tiny.write_tokenizer_json(tmp_path / "tokenizer.json"))


def test_json_is_a_list_of_ids_and_labels(run: Callable, files: tuple[str, str]) -> None:
    data, tokenizer = files
    result = run("train", "labels", data, "--tokenizer", tokenizer, "--json")
    assert result.exit_code == 0
    first, second = json.loads(result.stdout)
    assert first == second and first.keys() == {"input_ids", "labels"}
    assert len(first["input_ids"]) == len(first["labels"])
    pairs = list(zip(first["input_ids"], first["labels"], strict=True))
    assert any(label == -100 for _, label in pairs) and all(label in (id, -100) for id, label in pairs)
    [only] = json.loads(run("train", "labels", data, "--tokenizer", tokenizer, "--json", "--limit", "1").stdout)
    assert only == first


def test_without_a_terminal_there_is_a_line_a_token(run: Callable, files: tuple[str, str]) -> None:
    data, tokenizer = files
    lines = run("train", "labels", data, "--tokenizer", tokenizer, "--limit", "1").stdout.splitlines()
    assert lines[0].startswith(f"{data}, line 1: ") and "of which" in lines[0]
    marked = [line.split("  ")[-1] for line in lines if line.startswith(">")]
    spelled = "".join(json.loads(piece) for piece in marked)
    assert spelled == f"{DATA[0]['messages'][1]['content']}<|im_end|>"
    assert json.loads(marked[-1]) == "<|im_end|>"
    assert '"<|im_start|>"' in lines[2] and not lines[2].startswith(">")


def test_html(run: Callable, files: tuple[str, str], tmp_path: Path) -> None:
    data, tokenizer = files
    page = tmp_path / "labels.html"
    result = run("train", "labels", data, "--tokenizer", tokenizer, "--html", str(page))
    assert result.exit_code == 0 and result.stdout == ""
    text = page.read_text("utf-8")
    assert "&lt;|im_end|&gt;" in text and "&lt;" in text and "\x1b" not in text
    assert "background-color" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mode", "all"), "Invalid value for '--mode'"),
        (("--max-length", "8"), "line 1: its first turn takes"),
        (("--max-length", "1"), "Invalid value for '--max-length'"),
        (("--dialect", "latin"), "dialect must be one of"),
        (("--html", "/nowhere/labels.html"), "--html /nowhere/labels.html cannot be written"),
    ],
)
def test_mistakes(run: Callable, files: tuple[str, str], arguments: tuple[str, ...], said: str) -> None:
    data, tokenizer = files
    result = run("train", "labels", data, "--tokenizer", tokenizer, *arguments)
    assert result.exit_code == 1 and said in result.stderr and result.stderr.count("\n") == 1
