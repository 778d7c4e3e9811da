"""`qwen7b train sft` and `merge`, as their user sees them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from qwen7b.train.finetune_recipe import FinetuneRecipe
from qwen7b.train.recipe_file import read_recipe


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """A conversation, a model, and a folder for the run."""
    monkeypatch.setattr("qwen7b.train.precision._SECONDS", 0.01)
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"instruction": "the", "output": "hell"}) + "\n")
    config = {**tiny.V11_CONFIG, "use_dynamic_ntk": False, "use_logn_attn": False}
    base = tiny.write_folder(tmp_path / "base", config, tiny.qwen_tensors(), tokenizer=True)
    return str(data), str(base), str(tmp_path / "run")


def test_an_adapter_is_trained_and_merged(run: Callable, files: tuple[str, str, str], tmp_path: Path) -> None:
    data, base, folder = files
    command = ("train", "sft", data, "--model", base, "--out", folder, "--lora", "--rank", "2", "--steps", "3")
    result = run(*command, "--control-rows", "--precision", "float32")
    assert result.exit_code == 0, result.stderr
    saved = f"{folder}/steps/step-00000003"
    assert result.stdout == (
        f"Saved in {saved}.\nTry it: qwen7b chat --model {base} --adapter {saved}\n"
        f"As a model of its own: qwen7b train merge {folder} FOLDER\n"
    )
    kept = read_recipe(Path(folder) / "recipe.toml", FinetuneRecipe)
    assert kept.lora is not None and kept.lora.targets == ("c_attn", "c_proj", "w1", "w2") and kept.lora.rank == 2
    assert kept.lora.token_ids == (267, 268) and (kept.steps, kept.learning_rate) == (3, 3e-4)
    again = run(*command, "--control-rows", "--precision", "float32", "--json")
    assert json.loads(again.stdout) == {"run": folder, "saved": saved, "adapter": True}
    asked = ("chat", "the", "--model", base, "--dtype", "float32", "--max-new-tokens", "4", "--temperature", "0")
    plain, adapted = run(*asked), run(*asked, "--adapter", saved)
    assert plain.exit_code == adapted.exit_code == 0, adapted.stderr
    merged = run("train", "merge", folder, str(tmp_path / "merged"))
    assert merged.exit_code == 0 and "tensors checked against the source" in merged.stdout, merged.stderr
    assert (tmp_path / "merged" / "tokenizer.json").exists()
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["model_type"] == "qwen"
    checked = run("doctor", str(tmp_path / "merged"), "--json")
    assert json.loads(checked.stdout)["healthy"]


def test_an_adapter_beside_packed_weights_is_merged_and_packed_again(
    run: Callable, files: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    data, base, folder = files
    result = run("train", "sft", data, "--model", base, "--out", folder, "--lora", "--quantize", "nf4", "--steps", "1")
    assert result.exit_code == 0, result.stderr
    merged = run("train", "merge", folder, str(tmp_path / "merged"), "--quantize", "q8", "--json")
    assert merged.exit_code == 0, merged.stderr
    assert json.loads(merged.stdout)["format"] == "q8"
    refused = run("train", "merge", folder, str(tmp_path / "other"), "--quantize", "q8", "--dtype", "float32")
    assert "--quantize q8 writes a packed folder: leave out --to and --dtype" in refused.stderr
    refused = run("train", "merge", folder, str(tmp_path / "other.gguf"), "--quantize", "q8")
    assert "writes a folder" in refused.stderr


def test_the_defaults_are_the_original_scripts(files: tuple[str, str, str]) -> None:
    recipe = FinetuneRecipe(model="m", data=("d",)).resolved(num_examples=160, precision="float32")
    assert (recipe.steps, recipe.learning_rate, recipe.weight_decay, recipe.beta2) == (50, 1e-5, 0.1, 0.95)
    schedule = recipe.training.schedule
    assert schedule.warmup_steps == 0
    for step in (0, 25, 49):  # as in Transformers' cosine, whose last step has a rate, too
        assert schedule.factor(step, steps=50) == pytest.approx((1 + math.cos(math.pi * step / 50)) / 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rank", "4"), "--rank is a setting of an adapter: give --lora, too, or leave it out"),
        (("--quantize", "q4"), "--quantize is a setting of an adapter"),
        (("--lora", "--quantize", "q5"), "Invalid value for '--quantize'"),
        (("--control-rows",), "--control-rows is a setting of an adapter"),
        (("--lora", "--targets", "q_proj"), "no linear layer of this model is called 'q_proj': use some of c_attn"),
        (("--lora", "--targets", "none", "--no-control-rows"), "changes nothing: give some"),
        (("--lora", "--rank", "0"), "rank must be a whole number"),
        (("--epochs", "0"), "epochs must be a number above 0"),
        (("--max-length", "8"), "data.jsonl, line 1: its first turn takes"),
        (("--model", "nowhere-at-all/nothing", "--offline"), "nowhere-at-all/nothing"),
    ],
)
def test_mistakes(run: Callable, files: tuple[str, str, str], arguments: tuple[str, ...], said: str) -> None:
    data, base, folder = files
    result = run("train", "sft", data, "--model", base, "--out", folder, *arguments)
    assert result.exit_code == 1 and said in result.stderr, result.stderr
    assert not Path(folder).exists()


def test_what_cannot_be_merged_is_refused(run: Callable, files: tuple[str, str, str], tmp_path: Path) -> None:
    _, base, _ = files
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "error: " in run("train", "merge", str(empty), str(tmp_path / "merged")).stderr
    result = run("train", "merge", base, str(tmp_path / "merged"), "--base", base)
    assert "holds whole weights, which have no base" in result.stderr
    (empty / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    result = run("train", "merge", str(empty), str(tmp_path / "merged"))
    assert "does not say which model it is for: give the base" in result.stderr
