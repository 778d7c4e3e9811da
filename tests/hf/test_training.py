"""Training through Transformers and PEFT, and 4- and 8-bit weights through bitsandbytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny

pytest.importorskip("transformers", reason="needs the extra hf")

from transformers import AutoModelForCausalLM, BitsAndBytesConfig

import qwen7b
import qwen7b.hf
from qwen7b.errors import SettingError

# PEFT, and scripts of before, use the names of before.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")

IDS = torch.arange(40).reshape(2, 20)
TARGETS = ["c_attn", "c_proj", "w1", "w2"]


def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(ids).logits
    return out


@pytest.fixture
def model(tiny_chat_checkpoint: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint)


def train(model: Any, steps: int = 8) -> list[float]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = model.train()(IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def test_the_loss_is_that_of_the_next_token(model: Any) -> None:
    loss = model.eval()(IDS, labels=IDS).loss
    expected = torch.nn.functional.cross_entropy(logits(model)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    assert torch.allclose(loss, expected, atol=1e-5)


def test_gradient_checkpointing_changes_no_gradient(model: Any) -> None:
    gradients = []
    for enable in (False, True):
        if enable:
            model.gradient_checkpointing_enable()
        model.train()(IDS, labels=IDS).loss.backward()
        gradients.append(model.transformer.h[0].attn.c_attn.weight.grad.clone())
        model.zero_grad()
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6) and gradients[0].abs().sum() > 0
    losses = train(model)
    assert losses[-1] < losses[0]


def test_lora_trains_saves_loads_and_merges(model: Any, tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra hf")
    before = logits(model)
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=TARGETS, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, config)
    touched = {name.rpartition(".")[2] for name in adapted.targeted_module_names}
    assert touched == set(TARGETS) and len(adapted.targeted_module_names) == 5 * tiny.LAYERS
    losses = train(adapted)
    assert losses[-1] < losses[0]
    after = logits(adapted)
    assert not torch.allclose(before, after, atol=1e-2)
    adapted.save_pretrained(tmp_path / "adapter")
    fresh = AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint)
    loaded = peft.PeftModel.from_pretrained(fresh, tmp_path / "adapter")
    assert torch.allclose(logits(loaded), after, atol=1e-5)
    merged = loaded.merge_and_unload()
    assert torch.allclose(logits(merged), after, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged")), logits(merged))


def test_an_adapter_folder_loads_by_itself(model: Any, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra hf")
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=TARGETS, task_type="CAUSAL_LM"))
    train(adapted, steps=2)
    adapted.save_pretrained(tmp_path)
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), logits(adapted), atol=1e-5)
    auto = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path)
    assert torch.allclose(logits(auto), logits(adapted), atol=1e-5)


@pytest.fixture(scope="module")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sizes that bitsandbytes packs on a CPU: multiples of its block of 64."""
    config = qwen7b.hf.QWenConfig(
        vocab_size=320, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, kv_channels=64,
        intermediate_size=512, seq_length=64,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wide")
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("quantization", "layer", "tolerance"),
    [
        (
            {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16},
            "Linear4bit",
            0.25,
        ),
        ({"load_in_8bit": True}, "Linear8bitLt", 0.05),
    ],
)
def test_bitsandbytes_on_a_cpu(wide_folder: Path, quantization: dict[str, Any], layer: str, tolerance: float) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the extra hf")
    exact = logits(AutoModelForCausalLM.from_pretrained(wide_folder, dtype=torch.float32))
    model = AutoModelForCausalLM.from_pretrained(
        wide_folder,
        device_map="cpu",
        quantization_config=BitsAndBytesConfig(**quantization),
        trust_remote_code=True,
    ).eval()
    quantized = [name for name, module in model.named_modules() if type(module).__name__ == layer]
    assert len(quantized) == 5 * 2 and "lm_head" not in quantized
    rough = logits(model).float()
    assert float((rough - exact).norm() / exact.norm()) < tolerance
    assert model.generate(IDS, attention_mask=torch.ones_like(IDS), max_new_tokens=4, do_sample=False).shape == (2, 24)


def test_bits_as_keywords(wide_folder: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the extra hf")
    for name, layer in (("load_in_4bit", "Linear4bit"), ("load_in_8bit", "Linear8bitLt")):
        model: Any = AutoModelForCausalLM.from_pretrained(wide_folder, device_map="cpu", **{name: True})
        assert type(model.transformer.h[0].attn.c_attn).__name__ == layer
        with pytest.raises(SettingError, match="contradict"):
            AutoModelForCausalLM.from_pretrained(
                wide_folder, quantization_config=BitsAndBytesConfig(load_in_8bit=True), **{name: True}
            )
    assert AutoModelForCausalLM.from_pretrained(wide_folder, load_in_8bit=False).dtype == torch.float32


def test_lora_trains_beside_bitsandbytes_weights(wide_folder: Path, tmp_path: Path) -> None:
    """QLoRA as PEFT does it: only the adapter moves, and what it learned loads on the model in 4 bits and in floats."""
    pytest.importorskip("bitsandbytes", reason="needs the extra hf")
    peft = pytest.importorskip("peft", reason="needs the extra hf")
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )

    def in_4_bits() -> Any:
        return AutoModelForCausalLM.from_pretrained(wide_folder, device_map="cpu", quantization_config=quantization)

    model = peft.prepare_model_for_kbit_training(in_4_bits(), gradient_checkpointing_kwargs={"use_reentrant": False})
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=TARGETS, task_type="CAUSAL_LM"))
    layer = adapted.base_model.model.transformer.h[0].attn.c_attn
    assert type(layer.base_layer).__name__ == "Linear4bit"
    held = layer.base_layer.weight.detach().clone()
    losses = train(adapted)
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(layer.base_layer.weight, held) and layer.lora_A.default.weight.grad is None
    assert {parameter.dtype for parameter in adapted.parameters() if parameter.requires_grad} == {torch.float32}
    after = logits(adapted)
    adapted.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(peft.PeftModel.from_pretrained(in_4_bits(), tmp_path)), after, atol=1e-4, rtol=0)
    before, ours = (qwen7b.load_model(wide_folder, dtype="float32", **how) for how in ({}, {"adapter": tmp_path}))
    with torch.inference_mode():
        assert (ours(IDS) - after).norm() < 0.5 * (before(IDS) - after).norm()
