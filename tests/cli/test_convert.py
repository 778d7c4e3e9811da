"""`convert`: what it prints, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import qwen7b
from converting import write_source
from qwen7b.checkpoint import open_checkpoint
from random_adapters import write_random_adapter

Run = Callable[..., Result]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source", "qwen")


def test_it_says_what_it_did_and_what_is_lost(run: Run, source: Path, tmp_path: Path) -> None:
    result = run("convert", str(source), str(tmp_path / "model.gguf"), "--to", "gguf", "--quantize", "q8_0")
    assert result.exit_code == 0
    size, logits, *losses = result.stdout.splitlines()
    assert "model.gguf: 0." in size and size.endswith("27 tensors checked against the source.")
    assert logits.startswith("Logits differ by at most ") and "over 64 tokens" in logits
    assert any("dynamic NTK and LogN" in line for line in losses)
    assert all(line.startswith("Lost: ") for line in losses)
    assert "Writing" in result.stderr


def test_json_is_the_report_and_nothing_else(run: Run, source: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the hell 你好", encoding="utf-8")
    target = tmp_path / "target"
    result = run("convert", str(source), str(target), "--to", "qwen", "--check-text", str(text), "--json")
    assert json.loads(result.stdout) == json.loads((target / "conversion.json").read_text("utf-8"))
    assert json.loads(result.stdout)["logits"]["tokens"] == 8
    assert json.loads(result.stdout)["lost"] == []


def test_nothing_lost_is_said(run: Run, source: Path, tmp_path: Path) -> None:
    assert run("convert", str(source), str(tmp_path / "target"), "--to", "qwen").stdout.endswith("\nLost: nothing.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["source", "source", "--to", "qwen2"], "exists already"),
        (["nowhere/at-all.gguf", "target", "--to", "qwen2"], "there is no file or folder"),
        (["source", "target", "--to", "qwen2", "--quantize", "q8_0"], "only GGUF files are quantized"),
        (
            ["source", "target", "--to", "qwen2", "--check-text", "nowhere.txt"],
            "--check-text nowhere.txt does not exist",
        ),
    ],
)
def test_mistakes_are_one_line(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(source.parent)
    result = run("convert", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1


def test_an_unknown_format_names_the_known_ones(run: Run, source: Path) -> None:
    result = run("convert", str(source), "target", "--to", "onnx")
    assert result.exit_code == 1 and "qwen2" in result.stderr and "gguf" in result.stderr


@pytest.mark.parametrize("verb", ["convert", "quantize"])
@pytest.mark.parametrize("flag", ["--chat", "--base"])
def test_whether_it_chats_may_be_said(run: Run, source: Path, tmp_path: Path, verb: str, flag: str) -> None:
    target = tmp_path / "target"
    format = ["--to", "qwen"] if verb == "convert" else ["--format", "q8"]
    result = run(verb, str(source), str(target), *format, flag)
    assert result.exit_code == 0, result.output
    assert qwen7b.load(target).is_chat == (flag == "--chat")


def test_names_of_formats_come_from_the_formats(run: Run, source: Path, tmp_path: Path) -> None:
    from qwen7b.convert.encoding import FEWER_BITS
    from qwen7b.convert.target_format import TargetFormat
    from qwen7b.packed.formats import FORMATS

    assert f"<{'|'.join(TargetFormat)}>" in run("convert", "--help").stdout
    assert f"<{'|'.join(FEWER_BITS)}>" in run("convert", "--help").stdout
    assert f"<{'|'.join(FORMATS)}>" in run("quantize", "--help").stdout
    assert f"<{'|'.join((*FORMATS, 'auto', 'none'))}>" in run("chat", "--help").stdout
    for arguments in (
        ["convert", str(source), str(tmp_path / "target"), "--to", "gguf2"],
        ["convert", str(source), str(tmp_path / "target"), "--to", "gguf", "--quantize", "q9"],
        ["quantize", str(source), str(tmp_path / "target"), "--format", "q9"],
    ):
        result = run(*arguments)
        assert result.exit_code == 1 and "is not one of" in result.stderr


def test_an_adapter_is_converted_to_what_vllm_serves(run: Run, source: Path, tmp_path: Path) -> None:
    adapter = write_random_adapter(tmp_path / "adapter", open_checkpoint(source).config, rank=12)
    asked = ["convert", str(adapter), str(tmp_path / "done"), "--to", "qwen2"]
    assert "there is no folder" in run(*asked).stderr or "base" in run(*asked).stderr
    assert "--dtype is of no use where" in run(*asked, "--dtype", "float32").stderr
    first, second = run(*asked, "--adapter-base", str(source)).stdout.splitlines()
    assert first == f"{tmp_path / 'done'}: rank 12 in 14 linear layers, for {source} converted to qwen2."
    assert second.endswith(f"--enable-lora --max-lora-rank 16 --lora-modules NAME={tmp_path / 'done'}")
    document = run(*asked[:2], str(tmp_path / "again"), *asked[3:], "--adapter-base", str(source), "--json").stdout
    assert json.loads(document)["max_lora_rank"] == 16
    refused = run("convert", str(source), str(tmp_path / "x"), "--to", "qwen2", "--adapter-base", str(source))
    assert "--adapter-base is the model of an adapter" in refused.stderr
