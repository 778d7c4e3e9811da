"""A corpus becomes token shards by the command line, with a vocabulary of its own; what cannot be read is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from qwen7b.cli.app import app
from qwen7b.data.shards import Shards
from qwen7b.data.tokenizing import is_held_out
from qwen7b.text import Tokenizer, load_tokenizer

pytest.importorskip("rustbpe")
TEXTS = [f"The tin number {number} is in the inn. 第{number}個罐頭在店裡。" for number in range(60)]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS[:40]]
    (folder / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(json.dumps({"text": t}) for t in TEXTS[40:]).encode()))
    return folder


@pytest.fixture
def tokenizer(corpus: Path, tmp_path: Path) -> Tokenizer:
    made = run("vocab", "train", corpus, "--tokens", 290, "--out", tmp_path / "tokenizer.json", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["documents"] == 60
    return load_tokenizer(tmp_path / "tokenizer.json")


def test_every_document_is_in_the_shards_or_held_out(corpus: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    command = ("data", "tokenize", corpus, "--tokenizer", tmp_path / "tokenizer.json", "--out", out)
    made = run(*command, "--held-out", 0.2, "--json")
    assert made.exit_code == 0, made.output
    document = json.loads(made.stdout)
    parts = [Shards([folder], tokenizer=tokenizer) for folder in (out, tmp_path / "shards-held-out")]
    seen, held_out = ([tokenizer.decode(ids[:-1].tolist()) for ids in part.documents()] for part in parts)
    assert seen == [text for text in TEXTS if not is_held_out(text, 0.2)]
    assert held_out == [text for text in TEXTS if is_held_out(text, 0.2)] and 4 < len(held_out) < 25
    assert document["shards"]["num_documents"] == len(seen) and document["held_out"]["num_documents"] == len(held_out)
    assert document["digest"] == parts[0].indexes[0].digest
    again = run(*command)
    assert again.exit_code == 1 and "is there already" in again.stderr


def test_names_of_control_tokens_are_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("before<|endoftext|>after")
    out = tmp_path / "shards"
    made = run("data", "tokenize", tmp_path / "text.txt", "--tokenizer", tmp_path / "tokenizer.json", "--out", out)
    assert made.exit_code == 0, made.output
    (ids,) = Shards([out], tokenizer=tokenizer).documents()
    assert (ids == tokenizer.end_of_text_id).sum() == 1 and "bytes a token" in made.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a\\u0000b"}\n', "NUL"),
        (b'{"text": "\xff"}\n', "UTF-8"),
        (b'{"words": "x"}\n', "--text-field"),
        (b"", "there is no document"),
    ],
    ids=["nul", "utf8", "field", "empty"],
)
def test_bad_input_is_one_line(tokenizer: Tokenizer, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    out = tmp_path / "shards"
    command = ("data", "tokenize", tmp_path / "bad.jsonl", "--tokenizer", tmp_path / "tokenizer.json", "--out", out)
    result = run(*command)
    assert result.exit_code == 1 and message in result.stderr, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("error: ")] and not out.exists()
    if content:
        (tmp_path / "bad.jsonl").write_bytes(content + b'{"text": "good"}\n')
        skipped = run(*command, "--errors", "skip")
        assert skipped.exit_code == 0 and "1 document could not be read" in skipped.stdout, skipped.output
