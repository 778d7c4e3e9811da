"""`bench`: what it prints, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from qwen7b import kernels
from qwen7b.kernels import Limits

Run = Callable[..., Result]
LITTLE = ("--prompt-tokens", "8", "--new-tokens", "2", "--repeat", "1")


@pytest.fixture(autouse=True)
def quick_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(read_bytes_per_second=25e9, int8_ops_per_second=1.3e12)
    monkeypatch.setattr(kernels, "measure_limits", lambda: limits)


def test_json_is_one_document_and_nothing_else(run: Run, tiny_chat_checkpoint: Path) -> None:
    result = run("bench", "--model", str(tiny_chat_checkpoint), "--quantize", "none", "--json", *LITTLE)
    document = json.loads(result.stdout)
    assert document["prefill"].keys() == {"tokens_per_second", "int8_share"}
    assert document["decode"].keys() == {"tokens_per_second", "bandwidth_share"}
    assert document["limits"] == {"read_bytes_per_second": 25e9, "int8_ops_per_second": 1.3e12}
    assert document.keys() >= {"first_token_seconds", "load_seconds", "peak_memory_bytes", "bytes_per_token"}
    assert (document["precision"], document["prompt_tokens"], document["context"], document["batch"]) == (
        "none",
        8,
        8,
        1,
    )


def test_a_few_lines_for_people(run: Run, tiny_chat_checkpoint: Path) -> None:
    result = run("bench", "--model", str(tiny_chat_checkpoint), "--quantize", "none", *LITTLE)
    prefill, decode, first, memory = result.stdout.splitlines()
    assert prefill.startswith("prefill") and prefill.endswith("of the 1.30 int8 TOP/s there are")
    assert decode.startswith("decode") and decode.endswith("of the 25.0 GB/s there are")
    assert "s, after loading in" in first and "read a token" in memory


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "demo", "--shape", "7b"], "--shape 7b takes the place of a model"),
        (["--shape", "7b", "--long-context", "ntk"], "--long-context ntk needs a model's checkpoint"),
        (["--long-context", "alibi"], "a long-context method is none"),
        (["--shape", "70b"], "a shape must be one of 1.8b, 7b, 14b, demo, found '70b'"),
        (["--shape", "demo", "--quantize", "q5"], "'q5' is not one of 'q8', 'q4', 'nf4', 'auto', 'none'"),
        (["--shape", "demo", "--device", "cuda"], "--shape demo is made and timed on the CPU"),
        (["--batch", "0"], "batch must be a whole number of at least 1"),
        (["--threads", "0"], "--threads must lie between 1 and"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: list[str], message: str) -> None:
    result = run("bench", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1
