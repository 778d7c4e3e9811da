"""`vocab`: figures as a table, as JSON and as a plot, and mistakes in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import converting
import tiny
from qwen7b.text import load_tokenizer

Run = Callable[..., Result]


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    return str(tiny.write_tokenizer_json(tmp_path / "tokenizer.json"))


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "en.txt").write_text("hell the the\n")
    return str(tmp_path / "en.txt")


def test_a_table_shows_every_vocabulary(run: Run, tokenizer: str, text: str) -> None:
    result = run("vocab", "measure", text, "-m", f"first={tokenizer}", "-m", tokenizer)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == (
        "| language |    MB | first: bytes a token | tokenizer.json: bytes a token | tokenizer.json: × first |"
    )


def test_json_and_plot(run: Run, tokenizer: str, text: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra train")
    result = run("vocab", "measure", text, "-m", tokenizer, "--json", "--plot", str(tmp_path / "plot.svg"))
    (document,) = json.loads(result.stdout)
    assert (document["language"], document["tokens"], document["bytes"]) == ("en", 6, 13)
    assert (tmp_path / "plot.svg").stat().st_size > 1000


@pytest.mark.parametrize("kind", ["Unigram", "WordPiece", "WordLevel"])
def test_other_kinds_of_tokenizers_are_refused_by_name(run: Run, tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": kind, "vocab": []}}))
    result = run("vocab", "measure", text, "-m", str(tmp_path / "tokenizer.json"))
    assert result.exit_code == 1
    assert f"has a tokenizer of the kind '{kind}': qwen7b reads BPE" in result.output


def test_mistakes_are_one_sentence(run: Run, tokenizer: str, text: str, tmp_path: Path) -> None:
    for arguments, message in (
        ((text, "-m", tokenizer, "-m", tokenizer), "two vocabularies are called 'tokenizer.json'"),
        ((text, "-m", tokenizer, "--baseline", "xlm-r"), "the baseline 'xlm-r' is none of the vocabularies"),
        ((str(tmp_path / "none"), "-m", tokenizer), "does not exist: give a file or a folder of texts"),
    ):
        result = run("vocab", "measure", *arguments)
        assert result.exit_code == 1
        assert message in result.output and len(result.output.strip().splitlines()) == 1


def test_extend_writes_a_tokenizer(run: Run, tokenizer: str, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("hellabaloo " * 30)
    out = tmp_path / "new.json"
    arguments = (str(tmp_path / "corpus.txt"), "--tokens", "50", "-m", tokenizer, "--out", str(out))
    result = run("vocab", "extend", *arguments)
    assert result.exit_code == 0, result.output
    assert "each proven reachable" in result.output
    assert "are fewer than the 50 asked for: nothing else that may be added occurs 10 times" in result.output
    assert len(load_tokenizer(out).encode(" hellabaloo")) == 1
    document = json.loads(run("vocab", "extend", *arguments, "--json").stdout)
    assert document["added"] == len(document["tokens"]) < document["asked"] == 50
    assert document["tokens"][0]["id"] == load_tokenizer(tokenizer).vocab_size


def test_extend_writes_a_model(run: Run, tmp_path: Path) -> None:
    source = converting.write_source(tmp_path / "source", "qwen2")
    (tmp_path / "corpus.txt").write_text("hellabaloo " * 30)
    arguments = ("vocab", "extend", str(tmp_path / "corpus.txt"), "--tokens", "50", "-m", str(source))
    result = run(*arguments, "--out", str(tmp_path / "grown"), "--init", "random")
    assert result.exit_code == 0, result.output
    assert "320 rows where 320 were, 51 of them free; new rows by random" in " ".join(result.output.split())
    assert len(load_tokenizer(tmp_path / "grown").encode(" hellabaloo")) == 1
    again = run(*arguments, "--out", str(tmp_path / "grown"))
    assert again.exit_code == 1 and "exists already" in again.output and "Reading" not in again.output
    document = json.loads(run(*arguments, "--out", str(tmp_path / "other"), "--json").stdout)
    assert document["model"]["initial"] == "mean-norm" and document["model"]["rows_after"] == 320


def test_options_of_a_model_need_a_folder(run: Run, tokenizer: str, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("hellabaloo " * 30)
    arguments = ("vocab", "extend", str(tmp_path / "corpus.txt"), "--tokens", "5", "-m", tokenizer)
    for others in (("--init", "zero"), ("--init", "zero", "--out", str(tmp_path / "new.json")), ("--chat",)):
        result = run(*arguments, *others)
        assert result.exit_code == 1 and "is about the model that a folder holds" in result.output


def test_what_extend_cannot_do_is_one_sentence(run: Run, tokenizer: str, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "broken.txt").write_bytes(b"\xff")
    for arguments, message in (
        (("empty.txt",), "the corpus empty is empty"),
        (("broken.txt",), "byte 0 is 0xff; convert it first"),
        (("none.txt",), "none.txt does not exist"),
        (
            ("empty.txt", "--out", str(tmp_path / "qwen_extra.tiktoken")),
            "is another vocabulary: write a tokenizer.json",
        ),
        (("empty.txt", "--script", "Elvish"), "there is no script 'Elvish'"),
    ):
        corpus = str(tmp_path / arguments[0])
        result = run("vocab", "extend", corpus, *arguments[1:], "--tokens", "5", "-m", tokenizer)
        assert result.exit_code == 1
        assert message in result.output
        assert "Traceback" not in result.output
