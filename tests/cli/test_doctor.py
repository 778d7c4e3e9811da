"""`doctor`: one report, one JSON document, and exit codes to script with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import tiny
from qwen7b.cli.doctor import show_rows

Run = Callable[..., Result]
STOP_IDS = {"chat_format": "chatml", "eos_token_id": [266, 267, 268]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_folder(
        tmp_path / "model", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True, generation=STOP_IDS
    )


def test_a_healthy_folder(run: Run, folder: Path) -> None:
    result = run("doctor", str(folder))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        str(folder),
        "  is          checkpoint folder, first-generation Qwen, config since 2023-09",
        f"  size        111.30 k parameters, float32, chat model, 4 files, {size_in_words(folder)}B",
        "  vocabulary  269 tokens, 320 rows",
        "  context     trained on 64, up to 512 tokens",
        "",
        "Healthy: nothing is wrong.",
        f"  qwen7b chat --model {folder}",
        f"  qwen7b.load({str(folder)!r})",
    ]


def size_in_words(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.iterdir()) / 1e3:.2f} k"


def test_warnings_leave_the_exit_code_alone(run: Run, folder: Path) -> None:
    (folder / "modeling_qwen.py").write_text("")
    result = run("doctor", str(folder))
    assert result.exit_code == 0 and "Healthy: 1 warning." in result.stdout
    assert "  warning     " in result.stdout and "(--fix repairs it)" in result.stdout


def test_errors_exit_with_1_and_the_report_on_standard_output(run: Run, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    result = run("doctor", str(folder))
    assert (result.exit_code, result.stderr) == (1, "")
    assert "  error       " in result.stdout and "Not usable as it is: 1 error." in result.stdout


def test_json_is_one_document(run: Run, folder: Path) -> None:
    (folder / "modeling_qwen.py").write_text("")
    document = json.loads(run("doctor", str(folder), "--json").stdout)
    assert document["kind"] == "checkpoint folder" and document["healthy"] is True
    assert document["facts"]["family"] == "qwen" and document["usage"][0].startswith("qwen7b chat")
    assert [(finding["severity"], finding["repairable"]) for finding in document["findings"]] == [("warning", True)]


def test_fix_writes_a_mended_folder(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").unlink()
    spare = tiny.write_tokenizer_json(tmp_path / "tokenizer.json")
    mended = tmp_path / "mended"
    result = run("doctor", str(folder), "--fix", str(mended), "--tokenizer", str(spare))
    assert result.exit_code == 0, result.output
    assert f"Repaired: took tokenizer.json from {spare}." in result.stdout
    assert (
        result.stdout.index("Not usable as it is") < result.stdout.index(f"{mended}\n") < result.stdout.index("Healthy")
    )
    again = run("doctor", str(folder), "--fix", str(mended), "--tokenizer", str(spare))
    assert again.exit_code == 1 and again.stderr.startswith("error: ") and "exists already" in again.stderr


def test_fix_as_json(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "modeling_qwen.py").write_text("")
    document = json.loads(run("doctor", str(folder), "--fix", str(tmp_path / "mended"), "--json").stdout)
    assert document["repairs"] == ["left out modeling_qwen.py"] and document["mended"]["findings"] == []


def test_nothing_to_fix(run: Run, folder: Path, tmp_path: Path) -> None:
    result = run("doctor", str(folder), "--fix", str(tmp_path / "mended"))
    assert result.exit_code == 0 and "was not made" in result.stdout and not (tmp_path / "mended").exists()


def test_an_adapter_and_its_base(run: Run, folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "r": 8, "target_modules": ["w1", "c_attn"], "base_model_name_or_path": "Qwen-7B"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    result = run("doctor", str(adapter), "--base", str(folder))
    assert result.exit_code == 1
    assert "  adapter     LORA of rank 8 on c_attn, w1 of Qwen-7B" in result.stdout


def test_what_is_not_there_is_one_line(run: Run) -> None:
    result = run("doctor", "./nothing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


TRACEBACK = (
    'Traceback (most recent call last):\n  File "demo.py", line 3\n'
    "AttributeError: 'QWenTokenizer' object has no attribute 'mergeable_ranks'\n"
)


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_a_traceback_is_explained(run: Run, arguments: list[str]) -> None:
    result = run("doctor", *arguments, input=TRACEBACK)
    assert result.exit_code == 0
    labels = [line[:12].strip() for line in result.stdout.splitlines()]
    assert labels == ["line", "cause", "remedy", "seen in"] and "qwen7b.hf" in result.stdout


def test_a_traceback_as_json(run: Run) -> None:
    document = json.loads(run("doctor", "-", "--json", input=TRACEBACK.encode() + b"\xff").stdout)
    assert document["kind"] == "traceback" and "mergeable_ranks" in document["line"]
    assert document["causes"][0].keys() == {"name", "cause", "remedy", "source"}


def test_an_unknown_traceback_is_said_to_be_unknown(run: Run) -> None:
    result = run("doctor", input="OddError: the moon is full\n")
    assert result.exit_code == 1
    assert "OddError: the moon is full" in result.stdout and "not known" in result.stdout


def test_neither_path_nor_traceback(run: Run, tmp_path: Path) -> None:
    assert "nothing to explain" in run("doctor", input="").stderr
    assert "need an artefact" in run("doctor", "--fix", str(tmp_path / "x"), input="").stderr


def test_on_a_terminal_texts_are_wrapped_beside_their_labels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_rows([("error", "a sentence that is too long for the line"), ("is", "short")])
    plain = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert [line.rstrip() for line in plain.splitlines()] == [
        "  error       a sentence that is too",
        "              long for the line",
        "  is          short",
    ]
