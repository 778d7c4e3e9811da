"""GPTQ checkpoints: unpacked by blocks they equal what a slow reading of the format gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import tiny
from qwen7b.checkpoint import open_checkpoint
from qwen7b.errors import UnsupportedError
from random_gptq import gptq_config, quantize
from refusing import refused
from tiny import logits_of


@pytest.mark.parametrize("family", ["qwen", "qwen2"])
@pytest.mark.parametrize(
    ("bits", "group_size", "act_order", "v2"),
    [
        (4, 32, False, False),
        (8, 32, False, False),
        (4, -1, False, False),
        (4, 64, False, False),
        (4, 16, True, False),
        (8, 32, True, True),
    ],
)
def test_logits_equal_those_of_the_unpacked_weights(
    tmp_path: Path, family: str, bits: int, group_size: int, act_order: bool, v2: bool
) -> None:
    """With groups of 64, the last one of the feed-forward's 96 inputs is short."""
    config = tiny.V11_CONFIG if family == "qwen" else tiny.QWEN2_CONFIG
    tensors = tiny.qwen_tensors() if family == "qwen" else tiny.qwen2_tensors()
    packed, plain = quantize(tensors, bits=bits, group_size=group_size, act_order=act_order, v2=v2)
    quantization = gptq_config(bits, group_size, desc_act=act_order, **({"checkpoint_format": "gptq_v2"} if v2 else {}))
    folder = tiny.write_folder(tmp_path / "gptq", {**config, "quantization_config": quantization}, packed, shards=3)
    assert torch.equal(logits_of(folder), logits_of(tiny.write_folder(tmp_path / "plain", config, plain)))


def test_blocks_do_not_change_a_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, _ = quantize(tiny.qwen_tensors(), bits=4, group_size=16, act_order=True)
    folder = tiny.write_folder(tmp_path, {**tiny.V11_CONFIG, "quantization_config": gptq_config(4, 16)}, packed)
    expected = logits_of(folder)
    monkeypatch.setattr("qwen7b.files.stored.BLOCK_BYTES", 4 * 64 * 3)  # blocks that begin within a word of zeros
    assert torch.equal(logits_of(folder), expected)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    packed, _ = quantize(tiny.qwen_tensors(), bits=4, group_size=32)
    return tiny.write_folder(tmp_path / "model", {**tiny.V11_CONFIG, "quantization_config": gptq_config(4, 32)}, packed)


def rewrite(folder: Path, **changes: Any) -> Path:
    """Change the quantization_config; None drops it."""
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {**config["quantization_config"], **changes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("file", ["quantize_config.json", "both"])
@pytest.mark.parametrize("name", ["gptq_model-4bit-32g.safetensors", "model.safetensors", "gptq_model-4bit-32g.bin"])
def test_older_folders(folder: Path, name: str, file: str) -> None:
    """quantize_config.json without a method, and AutoGPTQ's own file names."""
    expected = logits_of(folder)
    (folder / "quantize_config.json").write_text(json.dumps({"bits": 4, "group_size": 32, "desc_act": False}))
    if file != "both":
        (folder / "config.json").write_text(json.dumps(tiny.V11_CONFIG))
    if name.endswith(".bin"):
        from safetensors.torch import load_file

        torch.save(load_file(folder / "model.safetensors"), folder / name)
        (folder / "model.safetensors").unlink()
    else:
        (folder / "model.safetensors").rename(folder / name)
    assert torch.equal(logits_of(folder), expected)


@pytest.mark.parametrize("g_idx", ["absent", "zeros"])
def test_without_an_order_the_inputs_are_grouped_in_theirs(folder: Path, tmp_path: Path, g_idx: str) -> None:
    packed, plain = quantize(tiny.qwen_tensors(), bits=8, group_size=16)
    for name in [name for name in packed if name.endswith(".g_idx")]:
        if g_idx == "absent":
            del packed[name]
        else:
            packed[name] = torch.zeros_like(packed[name])
    save_file(packed, folder / "model.safetensors")
    expected = logits_of(tiny.write_folder(tmp_path / "plain", tiny.V11_CONFIG, plain))
    assert torch.equal(logits_of(rewrite(folder, bits=8, group_size=16)), expected)


def test_a_stored_tensor_has_the_layers_shape(folder: Path) -> None:
    _place, stored = open_checkpoint(folder).tensors["transformer.h.0.mlp.c_proj.weight"]
    assert stored.shape == (tiny.HIDDEN, tiny.FEED_FORWARD)
    rows = stored.read_rows(3, 10)
    assert rows.dtype == torch.float32 and torch.equal(rows, stored.read_rows(0, 64)[3:10])


# --- what is wrong is said in one sentence -------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 3])
def test_few_bits_are_refused(folder: Path, bits: int) -> None:
    assert f"GPTQ of {bits} bits is not supported" in refused(rewrite(folder, bits=bits), UnsupportedError)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "quantized by bitsandbytes"),
        ({"quant_method": None, "load_in_8bit": True}, "quantized by bitsandbytes"),
        ({"quant_method": "awq", "version": "gemm"}, "quantized by awq"),
        ({"quant_method": "fp8"}, "quantized by fp8"),
        ({"is_marlin_format": True}, "laid out for 'marlin'"),
    ],
)
def test_other_quantizations_are_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    said = refused(rewrite(folder, **changes), UnsupportedError)
    assert message in said and "take the checkpoint" in said


def test_autoawq_says_it_in_a_file_of_its_own(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(tiny.V11_CONFIG))
    (folder / "quant_config.json").write_text(json.dumps({"zero_point": True, "q_group_size": 128, "w_bit": 4}))
    assert "quantized by awq" in refused(folder, UnsupportedError)


def test_nothing_says_how_it_is_packed(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(tiny.V11_CONFIG))
    assert "neither config.json nor quantize_config.json says how" in refused(folder)


@pytest.mark.parametrize("changes", [{"bits": 8}, {"group_size": 16}])
def test_settings_of_another_checkpoint(folder: Path, changes: dict[str, Any]) -> None:
    assert "belong to another checkpoint" in refused(rewrite(folder, **changes))


def changed(folder: Path, part: str, tensor: torch.Tensor | None) -> Path:
    from safetensors.torch import load_file

    tensors = {name: value.clone() for name, value in load_file(folder / "model.safetensors").items()}
    del tensors[f"transformer.h.0.attn.c_proj.{part}"]
    if tensor is not None:
        tensors[f"transformer.h.0.attn.c_proj.{part}"] = tensor
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_damaged_parts(folder: Path) -> None:
    assert "c_proj.g_idx names group 9 of 2" in refused(changed(folder, "g_idx", torch.full((64,), 9).int()))
    assert "packs a matrix into int32" in refused(changed(folder, "qweight", torch.zeros(8, 64)))
    assert "c_proj.qzeros is missing" in refused(changed(folder, "qzeros", None))


def test_a_bias_that_is_not_zero_has_no_place(folder: Path) -> None:
    assert "leaves no place for" in refused(changed(folder, "bias", torch.ones(64)))
