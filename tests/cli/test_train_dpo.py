"""`qwen7b train dpo`, as its user sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from qwen7b.train.preference_recipe import PreferenceRecipe
from qwen7b.train.recipe_file import read_recipe


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """Preferences, a model, and a folder for the run."""
    monkeypatch.setattr("qwen7b.train.precision._SECONDS", 0.01)
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"prompt": "the", "chosen": "hell", "rejected": "he"}) + "\n")
    config = {**tiny.V11_CONFIG, "use_dynamic_ntk": False, "use_logn_attn": False}
    base = tiny.write_folder(tmp_path / "base", config, tiny.qwen_tensors(), tokenizer=True)
    return str(data), str(base), str(tmp_path / "run")


def test_an_adapter_is_trained(run: Callable, files: tuple[str, str, str], tmp_path: Path) -> None:
    data, base, folder = files
    result = run("train", "dpo", data, "--model", base, "--out", folder, "--lora", "--rank", "2", "--beta", "0.2")
    assert result.exit_code == 0, result.stderr
    saved = f"{folder}/steps/step-00000001"
    assert result.stdout.startswith(f"Saved in {saved}.\nTry it: qwen7b chat --model {base} --adapter {saved}\n")
    kept = read_recipe(Path(folder) / "recipe.toml", PreferenceRecipe)
    assert (kept.beta, kept.steps, kept.learning_rate, kept.epochs) == (0.2, 1, 5e-6, 1.0)
    assert kept.lora is not None and kept.lora.rank == 2
    entry = json.loads((Path(folder) / "log.jsonl").read_text())
    assert {"loss", "reward_chosen", "reward_rejected", "margin", "accuracy"} <= entry.keys()
    merged = run("train", "merge", folder, str(tmp_path / "merged"))
    assert merged.exit_code == 0, merged.stderr
    page = run("train", "report", folder)
    assert page.exit_code == 0, page.stderr
    text = (Path(folder) / "report.html").read_text("utf-8")
    assert "Loss (nats a pair)" in text and "Margin of the chosen answers' reward" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rank", "4"), "--rank is a setting of an adapter: give --lora, too, or leave it out"),
        (("--beta", "0"), "beta must be a number above 0"),
        (("--mode", "original"), "No such option: --mode"),
        (("--max-length", "8"), "data.jsonl, line 1: its first turn takes"),
    ],
)
def test_mistakes(run: Callable, files: tuple[str, str, str], arguments: tuple[str, ...], said: str) -> None:
    data, base, folder = files
    result = run("train", "dpo", data, "--model", base, "--out", folder, *arguments)
    assert result.exit_code == 1 and said in result.stderr, result.stderr
    assert not Path(folder).exists()
