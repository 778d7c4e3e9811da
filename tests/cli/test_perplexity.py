"""`perplexity`: what it prints, draws and keeps, and how it fails."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from qwen7b.installation import install_command

Run = Callable[..., Result]


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text("the hell in there 你好 " * 12, encoding="utf-8")
    return str(file)


def test_json_is_a_list_of_results_and_nothing_else(run: Run, tiny_chat_checkpoint: Path, text: str) -> None:
    arguments = ("--lengths", "32,64", "--methods", "none,ntk+logn", "--trained-length", "16", "--json")
    result = run("perplexity", text, text, "--model", str(tiny_chat_checkpoint), *arguments)
    documents = json.loads(result.stdout)
    keys = {"file", "method", "precision", "length", "perplexity", "tokens_scored", "seconds"}
    assert all(document.keys() >= keys for document in documents)
    assert [(d["file"], d["precision"], d["method"], d["length"]) for d in documents] == [
        (text, "none", method, length) for method in ("none", "ntk+logn") for length in (32, 64)
    ]


def test_a_line_a_result(run: Run, tiny_chat_checkpoint: Path, text: str) -> None:
    arguments = ("perplexity", text, "--model", str(tiny_chat_checkpoint), "--length", "32", "--max-windows", "1")
    output = run(*arguments).stdout
    assert f"{text}  none  none  length 32: perplexity " in output and "over 31 tokens" in output
    assert output.count("\n") == 1


def test_several_lengths_end_in_a_table(run: Run, tiny_chat_checkpoint: Path, text: str) -> None:
    arguments = ("--lengths", "64,32", "--methods", "none,ntk", "--trained-length", "16")
    output = run("perplexity", text, "--model", str(tiny_chat_checkpoint), *arguments).stdout
    heading, _, head, rule, none, ntk = output.splitlines()[-6:]
    assert heading == f"{text}, none, trained length 16"
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["method", "32", "64"]
    assert set(rule) == set("| -:") and none.startswith("| none ") and ntk.startswith("| ntk ")
    exact = re.findall(r"length 64: perplexity (\S+)", output)
    assert [line.split()[-2] for line in (none, ntk)] == [f"{float(value):.2f}" for value in exact]


def test_formats_are_compared_side_by_side(
    run: Run, tiny_chat_checkpoint: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path))
    arguments = ("--model", str(tiny_chat_checkpoint), "--length", "32", "--quantize", "none,q8,q4,q4", "--json")
    none, q8, q4 = json.loads(run("perplexity", text, *arguments).stdout)
    assert [none["precision"], q8["precision"], q4["precision"]] == ["none", "q8", "q4"]
    assert q8["perplexity"] == pytest.approx(none["perplexity"], rel=0.05)
    assert abs(q8["perplexity"] - none["perplexity"]) < abs(q4["perplexity"] - none["perplexity"])


def test_results_are_kept_and_drawn(run: Run, tiny_chat_checkpoint: Path, text: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra eval")
    kept, plot = tmp_path / "kept.jsonl", tmp_path / "plot.png"
    arguments = ("--lengths", "16,32", "--methods", "none,ntk", "--trained-length", "16", "--resume", str(kept))
    command = ("perplexity", text, "--model", str(tiny_chat_checkpoint), *arguments, "--plot", str(plot), "--json")
    first = run(*command)
    assert plot.read_bytes().startswith(b"\x89PNG")
    lines = kept.read_text("utf-8")
    assert run(*command).stdout == first.stdout and kept.read_text("utf-8") == lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--quantize", "none,int3"],
            "--quantize takes one or more of none, q8, q4, nf4, separated by commas, found 'int3'",
        ),
        (["--length", "1000"], "fewer than a window of 1000"),
        (["--length", "0"], "a length must be a whole number of at least 2, found 0"),
        (
            ["--lengths", "32,long"],
            "--lengths takes a comma-separated list of whole numbers of at least 2, found 'long'",
        ),
        (["--lengths", "32,1"], "--lengths takes a comma-separated list of whole numbers of at least 2, found '1'"),
        (["--lengths", "32", "--length", "32"], "--length and --lengths both say how long a window is: drop one"),
        (["--length", "32", "--methods", "ntk,"], "a long-context method is none, or parts joined by +"),
        (["--length", "32", "--methods", "window:999"], "window of 999 is larger than the context"),
        (["--length", "32", "--quantize", "q8", "--dtype", "bfloat16"], "found the dtype bfloat16: drop it"),
        (["--length", "32", "--resume", "/none/kept.jsonl"], "results cannot be kept in /none/kept.jsonl"),
        (["--threads", "1000"], "--threads must lie between 1 and"),
    ],
)
def test_mistakes_are_one_line(
    run: Run, tiny_chat_checkpoint: Path, text: str, arguments: list[str], message: str
) -> None:
    result = run("perplexity", text, "--model", str(tiny_chat_checkpoint), *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1


def test_a_plot_that_cannot_be_is_refused_first(run: Run, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        assert f"run {install_command('eval')}" in run("perplexity", text, "--plot", "x.png").stderr
    pytest.importorskip("matplotlib", reason="draws")
    assert "must end in .png, .svg, .pdf, found 'x.jpeg'" in run("perplexity", text, "--plot", "x.jpeg").stderr
    assert "there is no folder /none for the plot x.png" in run("perplexity", text, "--plot", "/none/x.png").stderr
