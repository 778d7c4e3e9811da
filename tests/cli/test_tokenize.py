"""`tokenize`: ids, pieces and counts, exactly as given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import tiny

Run = Callable[..., Result]


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    return str(tiny.write_tokenizer_json(tmp_path / "tokenizer.json"))


def test_tokens_are_listed_and_counted(run: Run, tokenizer: str) -> None:
    result = run("tokenize", "hello\n", "-m", tokenizer)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        '   258  "hell"',
        '    78  "o"',
        '   198  "\\n"',
        "tokens: 3, characters: 6, bytes: 6",
    ]


def test_json_holds_ids_pieces_and_counts(run: Run, tokenizer: str) -> None:
    document = json.loads(run("tokenize", "the你好", "-m", tokenizer, "--json").stdout)
    assert document["pieces"] == ["the", "你", "\\xe5", "\\xa5", "\\xbd"]
    assert document["counts"] == {"tokens": len(document["ids"]), "characters": 5, "bytes": 9}
    assert (document["model"], document["text"]) == (tokenizer, "the你好")


def test_standard_input_is_taken_to_its_last_byte(run: Run, tokenizer: str) -> None:
    assert json.loads(run("tokenize", "-m", tokenizer, "--json", input=b"he\r\n").stdout)["text"] == "he\r\n"


def test_control_tokens_are_text_unless_asked(run: Run, tokenizer: str) -> None:
    assert '"<|im_end|>"' not in run("tokenize", "<|im_end|>", "-m", tokenizer).stdout
    assert '   268  "<|im_end|>"' in run("tokenize", "<|im_end|>", "-m", tokenizer, "--special").stdout


def test_an_empty_text_has_no_tokens(run: Run, tokenizer: str) -> None:
    assert run("tokenize", "-m", tokenizer, input=b"").stdout == "tokens: 0, characters: 0, bytes: 0\n"


def test_a_file_that_is_no_tokenizer_is_one_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{")
    result = run("tokenize", "x", "-m", str(path))
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and str(path) in result.stderr and result.stderr.count("\n") == 1


def test_bos_is_shown_where_the_model_reads_it(run: Run, tokenizer: str) -> None:
    settings = {"add_bos_token": True, "bos_token": "<|endoftext|>"}
    (Path(tokenizer).parent / "tokenizer_config.json").write_text(json.dumps(settings))
    lines = run("tokenize", "hello", "-m", tokenizer).stdout.splitlines()
    assert lines[0].split() == ["266", '"<|endoftext|>"'] and lines[-1].startswith("tokens: 3,")
    again = run("tokenize", "<|endoftext|>hello", "--special", "-m", tokenizer).stdout.splitlines()
    assert again[:-1] == lines[:-1]
