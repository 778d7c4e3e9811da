"""Merging: the adapter added to what it was trained on, however that is held, in whatever form is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import random_gptq
import tiny
from qwen7b.adapters.adapted_modules import adapter_of, add_adapter
from qwen7b.adapters.adapter_files import read_adapter, write_adapter
from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings
from qwen7b.checkpoint import open_checkpoint
from qwen7b.config import Family
from qwen7b.convert import quantize
from qwen7b.errors import SettingError
from qwen7b.loading import load_model
from qwen7b.train.adapter_folder import AdapterFolder
from qwen7b.train.finetune_recipe import FinetuneRecipe
from qwen7b.train.merging import merge, merge_packed
from qwen7b.train.ranks import ALONE
from qwen7b.train.recipe_file import recipe_text

LORA = LoraSettings(targets=DEFAULT_TARGETS[Family.QWEN], rank=4, alpha=8, dropout=0.0, token_ids=(5, 267, 268))
CONFIG = {**tiny.V11_CONFIG, "use_dynamic_ntk": False, "use_logn_attn": False}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def floats(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return tiny.write_folder(tmp_path / "floats", CONFIG, tiny.qwen_tensors(), tokenizer=True)


@pytest.fixture
def gptq(tmp_path: Path) -> Path:
    """A checkpoint of four bits as the original's Int4 ones are, in float16 where it is not packed."""
    torch.manual_seed(0)
    tensors, _ = random_gptq.quantize(tiny.qwen_tensors(), bits=4, group_size=32)
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    config = {**CONFIG, "quantization_config": random_gptq.gptq_config(4, 32)}
    return tiny.write_folder(tmp_path / "gptq", config, halves, tokenizer=True)


def run_on(base: Path, folder: Path, *, format: str | None = None) -> tuple[Path, torch.Tensor]:
    """A run's folder whose adapter has moved, and the logits of what it trained."""
    how: dict[str, Any] = {"quantize": format, "keep": True} if format else {}
    packed = open_checkpoint(base).packed is not None
    model = load_model(base, **({} if packed else {"dtype": "float32"}), **how)
    add_adapter(model, LORA)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    step = folder / "steps" / "step-00000001"
    write_adapter(step, adapter_of(model, LORA), base=str(base))
    recipe = FinetuneRecipe(model=str(base), data=("data.jsonl",), lora=LORA, quantize=format)
    (folder / "recipe.toml").write_text(recipe_text(recipe))
    with torch.inference_mode():
        return folder, model.train()(tiny.IDS)


@pytest.mark.parametrize("format", [None, "q8", "q4", "nf4"])
def test_a_merged_model_is_the_adapter_on_the_base_as_the_run_held_it(
    floats: Path, tmp_path: Path, format: str | None
) -> None:
    run, expected = run_on(floats, tmp_path / "run", format=format)
    merged = merge(run, tmp_path / "merged")
    assert merged.lost == [] and list(merged.types) == ["F32"]
    actual = tiny.logits_of(tmp_path / "merged", dtype="float32")
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)
    if format is not None:  # a base that is given is taken as it is
        merge(run, tmp_path / "other", base=floats)
        other = tiny.logits_of(tmp_path / "other", dtype="float32")
        assert (other - expected).norm() > 10 * (actual - expected).norm()
        alone = tiny.logits_of(floats, dtype="float32", adapter=run / "steps" / "step-00000001")
        torch.testing.assert_close(other, alone, atol=1e-4, rtol=0)


def test_merging_into_a_packed_folder(floats: Path, tmp_path: Path) -> None:
    quantize(floats, tmp_path / "packed", format="q4")
    run, expected = run_on(tmp_path / "packed", tmp_path / "run")
    merged = merge(run, tmp_path / "merged")
    assert list(merged.types) == ["F32"]
    torch.testing.assert_close(tiny.logits_of(tmp_path / "merged", dtype="float32"), expected, atol=1e-4, rtol=0)


def test_merging_into_the_original_s_four_bits(gptq: Path, tmp_path: Path) -> None:
    run, expected = run_on(gptq, tmp_path / "run")
    merged = merge(run, tmp_path / "merged")
    assert list(merged.types) == ["F32"] and merged.lost == []
    torch.testing.assert_close(tiny.logits_of(tmp_path / "merged", dtype="float32"), expected, atol=1e-4, rtol=0)
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())
    merge(run, tmp_path / "halves", dtype="float16")
    halves = tiny.logits_of(tmp_path / "halves", dtype="float32")
    assert (halves - expected).norm() < 5e-3 * expected.norm()


@pytest.mark.parametrize("kind", ["floats", "q4", "packed", "gptq"])
def test_what_was_merged_may_be_packed_again(floats: Path, gptq: Path, tmp_path: Path, kind: str) -> None:
    base = gptq if kind == "gptq" else floats
    if kind == "packed":
        base = tmp_path / "packed"
        quantize(floats, base, format="q8")
    run, _ = run_on(base, tmp_path / "run", format="q4" if kind == "q4" else None)
    folder = merge_packed(run, tmp_path / "merged", format="q8")
    assert (folder.format, folder.target) == ("q8", str(tmp_path / "merged"))
    merge(run, tmp_path / "floats-merged")
    quantize(tmp_path / "floats-merged", tmp_path / "expected", format="q8")
    assert torch.equal(tiny.logits_of(tmp_path / "merged"), tiny.logits_of(tmp_path / "expected"))
    assert load_model(tmp_path / "merged").weight_format == "q8"


def test_whole_weights_are_packed_as_well(floats: Path, tmp_path: Path) -> None:
    merge_packed(floats, tmp_path / "merged", format="q8")
    assert torch.equal(tiny.logits_of(tmp_path / "merged"), tiny.logits_of(floats, quantize="q8"))
    with pytest.raises(SettingError, match="holds whole weights, which have no base"):
        merge_packed(floats, tmp_path / "again", format="q8", base=floats)


def test_an_adapter_s_folder_alone_knows_no_format(floats: Path, tmp_path: Path) -> None:
    """It is PEFT's, and PEFT would add it to the floats."""
    run, _ = run_on(floats, tmp_path / "run", format="q4")
    (step,) = (run / "steps").iterdir()
    alone = tmp_path / "alone"
    step.rename(alone)
    merge(alone, tmp_path / "merged")
    expected = tiny.logits_of(floats, dtype="float32", adapter=alone)
    torch.testing.assert_close(tiny.logits_of(tmp_path / "merged", dtype="float32"), expected, atol=1e-4, rtol=0)


def test_a_saved_adapter_is_filled_again_beside_packed_weights(floats: Path, tmp_path: Path) -> None:
    run, expected = run_on(floats, tmp_path / "run", format="nf4")
    model = load_model(floats, quantize="nf4", keep=True)
    add_adapter(model, LORA)
    folder = AdapterFolder(settings=LORA, base=str(floats))
    folder.restore(model, run / "steps" / "step-00000001", ALONE)
    with torch.inference_mode():
        assert torch.equal(model.train()(tiny.IDS), expected)
    folder.save(model, tmp_path / "again", ALONE)
    assert read_adapter(tmp_path / "again").num_weights == adapter_of(model, LORA).num_weights
