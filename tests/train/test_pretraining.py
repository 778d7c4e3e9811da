"""Pretraining as a user does it: a recipe in, a run out, which is looked at, reported and loaded."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import qwen7b
from data.sharding import write_shards
from qwen7b.cli.app import app
from qwen7b.data.shards import Shards
from qwen7b.errors import SettingError
from qwen7b.text import load_tokenizer
from qwen7b.train.compressors import bits_after
from qwen7b.train.pretraining import compressed_after, open_data, pretrain
from qwen7b.train.report import read_run, report_page
from qwen7b.train.run_log import read_log
from qwen7b.train.validation import HeldOut, bits_per_byte
from train.tiny_training import RECIPE, small_model, write_pretraining

pytestmark = pytest.mark.usefixtures("short_probe")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_pretraining(tmp_path)


def test_a_run_is_looked_at_and_its_model_loaded(recipe: Path, tmp_path: Path) -> None:
    last = pretrain(recipe, tmp_path / "run")
    entries = [*read_log(tmp_path / "run" / "log.jsonl")]
    looks = [entry for entry in entries if "bits_per_byte" in entry]
    assert [entry["step"] for entry in looks] == [4, 8]
    assert looks[1]["bits_per_byte"] < looks[0]["bits_per_byte"] < 10
    assert looks[0]["samples"].keys() == {"the ", "h"}
    qwen = qwen7b.load(last, quantize="none", dtype="float32")
    assert qwen.complete("the ", max_new_tokens=5, temperature=0).text == looks[1]["samples"]["the "]
    assert not qwen.is_chat and qwen.config.trained_length == 16
    speeds = [*read_log(tmp_path / "run" / "speed.jsonl")]
    assert [entry["step"] for entry in speeds] == [*range(1, 9)]
    assert all(entry["tokens_per_second"] > 0 and 0 < entry["share_of_peak"] < 1 for entry in speeds)


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(recipe, tmp_path / "whole")
    from qwen7b.train import loop

    real = loop.take_step

    def stopped(*args: Any, step: int, **named: Any) -> Any:
        if step == 6:
            raise KeyboardInterrupt
        return real(*args, step=step, **named)

    monkeypatch.setattr(loop, "take_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe, tmp_path / "stopped")
    monkeypatch.undo()
    again = pretrain(recipe, tmp_path / "stopped")
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert (tmp_path / "stopped" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()


def test_other_data_under_the_same_recipe_are_refused(recipe: Path, tmp_path: Path) -> None:
    pretrain(recipe, tmp_path / "run")
    shutil.rmtree(tmp_path / "shards")
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    write_shards([tokenizer.encode("hell " * 50)], tmp_path / "shards", tokenizer=tokenizer)
    with pytest.raises(SettingError, match="has the run of another recipe, with '# data: "):
        pretrain(recipe, tmp_path / "run")


def test_a_run_keeps_the_format_of_products_that_it_began_with(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the recipe leaves it to the machine; another that the recipe names is refused as any other setting is."""
    pretrain(recipe, tmp_path / "run")
    tried: list[str] = []
    from qwen7b.train.precision import probe_precision

    def probe(wanted: Any, **named: Any) -> Any:
        tried.append(wanted)
        return probe_precision(wanted, **named)

    monkeypatch.setattr("qwen7b.train.pretraining.probe_precision", probe)
    recipe.write_text(RECIPE.replace('precision = "float32"', 'precision = "auto"'))
    pretrain(recipe, tmp_path / "run")
    recipe.write_text(RECIPE.replace('precision = "float32"', 'precision = "bfloat16"'))
    with pytest.raises(SettingError, match="with 'precision = \"float32\"' where this one has 'precision = \"bfloat16"):
        pretrain(recipe, tmp_path / "run")
    assert tried == ["float32", "bfloat16"]


def test_bits_per_byte_are_the_nats_of_all_tokens_over_the_bytes_of_text(recipe: Path, tmp_path: Path) -> None:
    data = open_data(recipe)
    assert data.held_out is not None
    model = small_model()
    # The stream read as one text: the documents' ends are asked for, and have no bytes.
    tokenizer = data.tokenizer
    shards = Shards([tmp_path / "validation"], tokenizer=tokenizer)
    stream = [int(id) for ids in shards.documents() for id in ids][:200]
    rows = [stream[at : at + 17] for at in range(0, len(stream) - 16, 16)]
    nats = 0.0
    with torch.no_grad():
        for row in rows:
            logprobs = model(torch.tensor([row[:-1]]))[0].log_softmax(-1)
            nats -= sum(logprobs[place, id].item() for place, id in enumerate(row[1:]))
    asked = [id for row in rows for id in row[1:]]
    num_bytes = len(tokenizer.decode([id for id in asked if id != tokenizer.end_of_text_id]).encode())
    assert bits_per_byte(model, data.held_out) == pytest.approx(nats / 0.6931471805599453 / num_bytes, rel=1e-5)


def test_held_out_text_shorter_than_a_row_is_refused(recipe: Path, tmp_path: Path) -> None:
    data = open_data(recipe)
    with pytest.raises(SettingError, match="the validation text has 100 tokens, less than a row of 100"):
        HeldOut.read(data.shards, data.tokenizer, length=100, micro_rows=1, max_tokens=100)


def test_what_was_read_is_the_corpus_in_its_order(recipe: Path) -> None:
    data = open_data(recipe)
    whole = data.read_before(10**6)
    assert whole.startswith(data.read_before(3)) and 0 < len(data.read_before(1)) < len(data.read_before(2))
    assert len(whole) > 24 * 50


def test_compressors_take_less_for_what_they_have_read() -> None:
    pytest.importorskip("pyppmd")
    text = Path(__file__).read_bytes()
    new, known = bits_after(b"", text), bits_after(text, text)
    assert new.keys() == {"gzip", "bz2", "xz", "ppmd"}
    assert all(1 < bits < 4 for bits in new.values())
    assert all(known[name] < 0.6 * new[name] for name in new)


def test_the_report_shows_the_run_and_escapes_its_texts(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("pyppmd")
    pretrain(recipe, tmp_path / "run")
    history = read_run(tmp_path / "run")
    compressed = dict(compressed_after(tmp_path / "run", [4, 8]))
    assert compressed[8]["ppmd"] <= compressed[4]["ppmd"]
    history.looks[-1]["samples"]["the "] = "<script>alert(1)</script>"
    page = report_page(history, compressed=compressed)
    assert page.count("<svg") == 4 and "<script" not in page and "&lt;script&gt;alert(1)" in page
    assert f"{compressed[8]['ppmd']:.4f}" in page and f"{history.looks[-1]['bits_per_byte']:.4f}" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)  # it needs nothing but itself


def test_the_command_line(recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = CliRunner()
    made = run.invoke(app, ["train", "pretrain", str(recipe), "--out", str(tmp_path / "run"), "--json"])
    assert made.exit_code == 0, made.output
    document = json.loads(made.stdout)
    assert Path(document["model"]).is_dir() and document["step"] == 8 and document["bits_per_byte"] < 10
    shown = run.invoke(app, ["train", "report", str(tmp_path / "run"), "--compressors", "1", "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["compressors"].keys() == {"8"}
    assert (tmp_path / "run" / "report.html").read_text("utf-8").startswith("<!doctype html>")
    printed = run.invoke(app, ["train", "recipe", "tiny"])
    assert printed.exit_code == 0 and printed.stdout.startswith("# A recipe of pretraining")


def test_mistakes_are_one_line(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("micro_rows", "micro_row"))
    for arguments, message in (
        (["pretrain", str(recipe), "--out", str(tmp_path / "run")], "did you mean micro_rows?"),
        (["pretrain", str(tmp_path / "none.toml"), "--out", str(tmp_path / "run")], "none.toml does not exist"),
        (["report", str(tmp_path / "shards")], "holds no run"),
    ):
        result = CliRunner().invoke(app, ["train", *arguments])
        assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
