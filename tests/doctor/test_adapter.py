"""The doctor on LoRA adapters, as PEFT writes them, with and without their base."""

from __future__ import annotations

import json
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import tiny
from qwen7b.cli.app import app
from qwen7b.doctor import Diagnosis, diagnose

SIZES = {"c_attn": (192, 64), "c_proj": (64, 64), "w1": (96, 64), "w2": (96, 64)}
PARTS = {"c_attn": "attn.c_attn", "c_proj": "attn.c_proj", "w1": "mlp.w1", "w2": "mlp.w2"}


def lora_tensors(*, rank: int = 4) -> dict[str, torch.Tensor]:
    tensors = {}
    for layer in range(tiny.LAYERS):
        for module, (num_outputs, num_inputs) in SIZES.items():
            stem = f"base_model.model.transformer.h.{layer}.{PARTS[module]}"
            tensors[f"{stem}.lora_A.weight"] = torch.rand(rank, num_inputs)
            tensors[f"{stem}.lora_B.weight"] = torch.zeros(num_outputs, rank)
    tensors["base_model.model.transformer.wte.weight"] = torch.rand(tiny.ROWS, tiny.HIDDEN)  # modules_to_save
    return tensors


def write(folder: Path, tensors: dict[str, torch.Tensor], **changes: Any) -> Path:
    folder.mkdir()
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "Qwen/Qwen-7B-Chat",
        "r": 4,
        "lora_alpha": 16,
        "target_modules": list(SIZES),
        "modules_to_save": ["wte"],
        **changes,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny.write_folder(tmp_path / "base", tiny.V11_CONFIG, tiny.qwen_tensors())


def said(diagnosis: Diagnosis, severity: str = "error") -> list[str]:
    return [finding.message for finding in diagnosis.findings if finding.severity == severity]


def test_adapter_on_its_base(tmp_path: Path, base: Path) -> None:
    found = diagnose(write(tmp_path / "adapter", lora_tensors()), base=base)
    assert found.kind == "adapter" and not found.findings
    assert found.facts["target_modules"] == list(SIZES) and found.facts["rank"] == 4
    assert found.facts["base"] == "Qwen/Qwen-7B-Chat"
    assert "PeftModel" in found.usage[2]


def test_the_base_that_it_names_serves_where_it_is_local(tmp_path: Path, base: Path) -> None:
    found = diagnose(write(tmp_path / "adapter", lora_tensors(), base_model_name_or_path=str(base)))
    assert not found.findings and str(base) in found.usage[1]


def test_without_its_base_it_cannot_be_checked(tmp_path: Path) -> None:
    found = diagnose(write(tmp_path / "adapter", lora_tensors()))
    assert found.is_healthy and "'Qwen/Qwen-7B-Chat', which is not a local folder" in said(found, "warning")[0]


def test_older_files(tmp_path: Path, base: Path) -> None:
    """A pickled file, and names with the adapter's in them."""
    folder = write(tmp_path / "adapter", {})
    (folder / "adapter_model.safetensors").unlink()
    tensors = {name.replace(".lora_A.", ".lora_A.default."): tensor for name, tensor in lora_tensors().items()}
    torch.save(tensors, folder / "adapter_model.bin")
    assert not diagnose(folder, base=base).findings


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "v_proj", "embed_tokens"], "bias": "all"},
        {"target_modules": "all-linear", "modules_to_save": ["embed_tokens"], "use_dora": True},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_adapters_that_peft_writes(tmp_path: Path, settings: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    peft = pytest.importorskip("peft", reason="the extra hf is not installed")
    base = tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors())
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    peft.get_peft_model(model, peft.LoraConfig(r=4, **settings)).save_pretrained(tmp_path / "adapter")
    assert not diagnose(tmp_path / "adapter").findings


def test_adapter_for_another_architecture(tmp_path: Path) -> None:
    base = tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors())
    [message] = said(diagnose(write(tmp_path / "adapter", lora_tensors()), base=base))
    assert "trains 'transformer.h.0.attn.c_attn', which" in message and "another base" in message
    stem = "base_model.model.model.layers.0.self_attn"
    tensors = {f"{stem}.q_proj.lora_A.weight": torch.rand(4, 64), f"{stem}.k_proj.lora_B.weight": torch.rand(32, 4)}
    assert not said(diagnose(write(tmp_path / "fits", tensors), base=base))
    tensors = {f"{stem}.k_proj.lora_B.weight": torch.rand(64, 4)}
    assert "[64, 4], but" in said(diagnose(write(tmp_path / "other", tensors), base=base))[0]


def test_adapter_for_another_size(tmp_path: Path, base: Path) -> None:
    tensors = lora_tensors()
    for name, tensor in tensors.items():
        if name.endswith("c_attn.lora_A.weight"):
            tensors[name] = torch.cat([tensor, tensor], dim=1)
    tensors["base_model.model.transformer.h.2.mlp.w1.lora_A.weight"] = torch.rand(4, 64)
    homeless, wrong = said(diagnose(write(tmp_path / "adapter", tensors), base=base))
    assert "transformer.h.2.mlp.w1" in homeless
    assert "is of shape [4, 128], but" in wrong and "has [192, 64] there (and 1 more like it)" in wrong


def test_embedding_of_other_rows(tmp_path: Path, base: Path) -> None:
    tensors = {"base_model.model.transformer.wte.weight": torch.rand(400, tiny.HIDDEN)}
    assert "shape [400, 64]" in said(diagnose(write(tmp_path / "saved", tensors), base=base))[0]
    tensors = {"base_model.model.transformer.wte.lora_embedding_A": torch.rand(4, 400)}
    assert "shape [4, 400]" in said(diagnose(write(tmp_path / "lora", tensors), base=base))[0]


def test_tensors_of_too_few_axes(tmp_path: Path, base: Path) -> None:
    tensors = {"base_model.model.transformer.h.0.mlp.w1.lora_A.weight": torch.rand(64)}
    assert "is of shape [64], but" in said(diagnose(write(tmp_path / "flat", tensors), base=base))[0]
    tensors = {"base_model.model.transformer.h.0.ln_1.lora_A.weight": torch.rand(4, 64)}
    assert "has [64] there" in said(diagnose(write(tmp_path / "norm", tensors), base=base))[0]


def test_tensors_that_zero3_left_empty(tmp_path: Path, base: Path) -> None:
    tensors = {name: torch.empty(0) for name in lora_tensors()}
    [message] = said(diagnose(write(tmp_path / "adapter", tensors), base=base))
    assert "ZeRO-3" in message


def test_half_an_adapter(tmp_path: Path, base: Path) -> None:
    folder = write(tmp_path / "adapter", lora_tensors())
    (folder / "adapter_model.safetensors").unlink()
    assert "neither adapter_model.safetensors nor adapter_model.bin" in said(diagnose(folder, base=base))[0]
    (folder / "adapter_config.json").write_text("{")
    assert len(said(diagnose(folder, base=base))) == 2


def test_other_kinds_of_adapter_and_bases_that_fail(tmp_path: Path) -> None:
    folder = write(tmp_path / "adapter", lora_tensors(), peft_type="PREFIX_TUNING")
    messages = said(diagnose(folder, base=tmp_path))
    assert "PREFIX_TUNING" in messages[0] and "is not a checkpoint itself" in messages[1]


def test_the_recommended_lines_run(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs the extra hf")
    import transformers

    import qwen7b.hf

    model = tiny.write_folder(tmp_path / "base", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True)
    tensors = {name: tensor for name, tensor in lora_tensors().items() if ".c_proj." not in name}
    settings = {"base_model_name_or_path": str(model), "target_modules": ["c_attn", "w1", "w2"]}
    found = diagnose(write(tmp_path / "adapter", tensors, **settings))
    scope: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between peft and Transformers
        exec("\n".join(found.usage), scope)
    ids = torch.arange(1, 20)[None]
    assert isinstance(scope["model"].base_model.model, transformers.PreTrainedModel)
    logits = scope["model"](input_ids=ids).logits
    assert logits.shape == (1, 19, tiny.ROWS)
    plain = qwen7b.load_model(model, dtype="float32")(ids)
    assert (scope["qwen"].model(ids) - logits).norm() < 0.1 * (logits - plain).norm()  # it is packed
    result = CliRunner().invoke(app, shlex.split(found.usage[-1])[2:])
    assert result.exit_code == 0, result.output
    merged = qwen7b.load(tmp_path / "adapter-merged", quantize="none")
    torch.testing.assert_close(merged.model(ids), logits, rtol=1e-4, atol=1e-4)
