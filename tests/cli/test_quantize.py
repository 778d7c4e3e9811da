"""`qwen7b quantize`: arguments arrive, the target answers, and mistakes are one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def test_a_quantized_checkpoint_answers(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "packed"
    result = run("quantize", str(tiny_chat_checkpoint), str(target), "--format", "q4", "--gptq", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["target"] == str(target) and (report["format"], report["gptq"]) == ("q4", True)
    assert report["bytes"] == sum(path.stat().st_size for path in target.iterdir())
    answer = run("chat", "the", "--model", str(target), "--max-new-tokens", "3", "--json")
    assert answer.exit_code == 0 and json.loads(answer.stdout)["usage"]["completion_tokens"] == 3


def test_without_json_one_line_says_how_it_went(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("the hell " * 20)
    arguments = ("quantize", str(tiny_chat_checkpoint), str(tmp_path / "packed"), "--format", "q4")
    result = run(*arguments, "--calibrate", str(text))
    assert result.exit_code == 0 and result.stdout.startswith(f"{tmp_path / 'packed'}: ")
    again = run(*arguments)
    assert again.exit_code == 1 and "exists already" in again.stderr and again.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "q3"], "'q3' is not one of"),
        ([], "Missing option '--format'"),
        (["--format", "q8", "--gptq"], "only q4 takes"),
        (["--format", "q4", "--data-free", "--gptq"], "drop one or the other"),
        (["--format", "q4", "--calibrate", "nowhere.txt"], "--calibrate nowhere.txt does not exist: check the path"),
        (["--format", "q4", "--calibrate", "empty.txt"], "is empty"),
        (["--format", "q4", "--threads", "0"], "--threads must lie between 1 and"),
    ],
)
def test_mistakes_are_one_line(
    run: Run,
    tiny_chat_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    result = run("quantize", str(tiny_chat_checkpoint), str(tmp_path / "packed"), *options)
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "packed").exists()
