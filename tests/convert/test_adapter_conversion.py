"""Adapters in the form that vLLM serves: for the converted base, with the same results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from converting import write_source
from qwen7b.adapters.adapter_files import base_of
from qwen7b.checkpoint import open_checkpoint
from qwen7b.convert import convert, convert_adapter
from qwen7b.errors import SettingError, UnsupportedError
from random_adapters import write_random_adapter

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks Transformers so
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapter_of(base: Path, folder: Path, **settings: Any) -> Path:
    return write_random_adapter(folder, open_checkpoint(base).config, size=0.3, **settings)


def as_vllm_reads(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The settings and tensors, checked as by vLLM's PEFTHelper and LoRAModel.from_local_checkpoint."""
    fields = json.loads((folder / "adapter_config.json").read_text())
    assert {"r", "lora_alpha", "target_modules"} <= fields.keys() and fields.get("bias", "none") == "none"
    assert not fields.get("modules_to_save") and not fields.get("use_dora")
    tensors = load_file(folder / "adapter_model.safetensors")
    for name, values in tensors.items():
        named = re.fullmatch(r"base_model\.model\.model\.layers\.\d+\.\w+\.(\w+)\.lora_([AB])\.weight", name)
        assert named and named[1] in LINEAR and named[1] in fields["target_modules"]
        assert values.shape[0 if named[2] == "A" else 1] == fields["r"]
        assert name.replace("lora_A", "lora_B") in tensors and name.replace("lora_B", "lora_A") in tensors
    return fields, tensors


@pytest.mark.parametrize("kind", ["qwen", "qwen2", "llama"])
def test_it_computes_the_same_on_the_converted_base(tmp_path: Path, kind: str) -> None:
    base = write_source(tmp_path / "base", kind)
    adapter = adapter_of(base, tmp_path / "adapter", rank=5)
    done = convert_adapter(adapter, tmp_path / "done", base=base)
    convert(base, tmp_path / "converted", to="qwen2")
    fields, tensors = as_vllm_reads(tmp_path / "done")
    assert (fields["r"], done.rank, done.max_lora_rank) == (5, 5, 8)
    assert done.num_layers == tiny.LAYERS * len(LINEAR) == len(tensors) / 2
    assert base_of(tmp_path / "done") == (None if kind == "qwen" else str(base))
    actual = tiny.logits_of(tmp_path / "converted", dtype="float32", adapter=tmp_path / "done")
    expected = tiny.logits_of(base, dtype="float32", adapter=adapter)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, tiny.logits_of(base, dtype="float32"), atol=0.1)


def test_peft_puts_it_on_the_converted_base(tmp_path: Path) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    base = write_source(tmp_path / "base", "qwen")
    adapter = adapter_of(base, tmp_path / "adapter", targets=("c_attn", "w1"))
    convert(base, tmp_path / "converted", to="qwen2")
    done = convert_adapter(adapter, tmp_path / "done", base=base)
    assert {*as_vllm_reads(done.target)[0]["target_modules"]} == {"q_proj", "k_proj", "v_proj", "up_proj"}
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "converted", dtype=torch.float32)
    with torch.inference_mode():
        actual = peft.PeftModel.from_pretrained(model, done.target).eval()(tiny.IDS).logits
    expected = tiny.logits_of(base, dtype="float32", adapter=adapter)
    torch.testing.assert_close(actual, expected, atol=1e-3, rtol=1e-3)


def test_a_run_stands_for_its_last_adapter(tmp_path: Path) -> None:
    base = write_source(tmp_path / "base", "qwen2")
    step = adapter_of(base, tmp_path / "run" / "steps" / "step-00000006")
    (tmp_path / "run" / "recipe.toml").touch()
    assert convert_adapter(tmp_path / "run", tmp_path / "done", base=base).source == step


def test_what_vllm_would_refuse_is_refused_before_it_is_written(tmp_path: Path) -> None:
    base = write_source(tmp_path / "base", "qwen")
    adapter = adapter_of(base, tmp_path / "adapter", token_ids=(3, 4))

    def refused(kind: type[Exception], said: str, **settings: Any) -> None:
        with pytest.raises(kind, match=said):
            convert_adapter(adapter, tmp_path / "done", **{"base": base, **settings})
        assert not (tmp_path / "done").exists()

    refused(UnsupportedError, "changes rows of tokens, which vLLM does not take beside a model: merge it")
    adapter = adapter_of(base, tmp_path / "large", rank=513, targets=("w1",))
    refused(UnsupportedError, "of rank 513, and vLLM takes 512 at most")
    adapter = adapter_of(base, tmp_path / "head")
    tensors = load_file(adapter / "adapter_model.safetensors")
    whole = {"base_model.model.transformer.wte.weight": torch.zeros(tiny.ROWS, tiny.HIDDEN)}
    save_file({**tensors, **whole}, adapter / "adapter_model.safetensors")
    refused(UnsupportedError, "changes whole tensors, which vLLM does not take")
    shapes = {"A": (4, tiny.HIDDEN), "B": (tiny.ROWS, 4)}
    head = {f"base_model.model.lm_head.lora_{side}.weight": torch.zeros(shape) for side, shape in shapes.items()}
    save_file({**tensors, **head}, adapter / "adapter_model.safetensors")
    refused(UnsupportedError, r"changes head\.weight, which vLLM does not take")
    adapter = adapter_of(base, tmp_path / "good")
    refused(SettingError, "adapters are written in Qwen2's layout only, found qwen", to="qwen")
    (tmp_path / "there").mkdir()
    with pytest.raises(SettingError, match="exists already"):
        convert_adapter(adapter, tmp_path / "there", base=base)


def test_heads_that_the_converted_base_merges_are_not_cut(tmp_path: Path) -> None:
    tensors = tiny.qwen_tensors()
    for name in [name for name in tensors if "c_attn" in name]:  # two key-value heads, each twice
        query, key, value = tensors[name].chunk(3)
        halves = [half.view(4, tiny.HEAD_SIZE, -1)[[0, 0, 2, 2]].reshape(half.shape) for half in (key, value)]
        tensors[name] = torch.cat([query, *halves])
    base = write_source(tmp_path / "base", "qwen", tensors=tensors)
    with pytest.raises(UnsupportedError, match="becomes a model of 2 key-value heads in Qwen2's layout"):
        convert_adapter(adapter_of(base, tmp_path / "adapter"), tmp_path / "done", base=base)
