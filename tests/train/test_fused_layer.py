"""Training's own forward of a layer has the losses and gradients of the model's readable one, whatever is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import tiny
from qwen7b import kernels
from qwen7b.adapters.adapted_modules import add_adapter
from qwen7b.adapters.settings import LoraSettings
from qwen7b.config.rotary_scaling import Yarn
from qwen7b.kernels.native import library
from qwen7b.kernels.training import CausalAttention
from qwen7b.model import Transformer
from qwen7b.train import fused_layer, loss
from qwen7b.train.loop import computing_gradients
from qwen7b.train.loss import head_loss, summed_loss
from qwen7b.train.micro_batch import NO_TARGET, MicroBatch, labelled
from random_packed import random_model

if library() is None:
    pytest.skip("needs the native library", allow_module_level=True)

LORA = LoraSettings(targets=("c_attn", "c_proj", "w1", "w2"), rank=4, dropout=0.2)
SHAPES: dict[str, dict[str, Any]] = {
    "the original's": {},
    "shared heads": {"family": "llama", "num_kv_heads": 2, "qkv_bias": False},
    "biases": {"family": "qwen2", "num_kv_heads": 1, "tied_head": True},
    "a window": {"family": "qwen2", "attention_windows": (0, 4)},
    "odd sizes": {"hidden_size": 36, "num_heads": 3, "num_kv_heads": 3, "head_size": 12, "feed_forward_size": 50},
    "scaled positions": {"rotary_scaling": Yarn(factor=4.0, original_length=16)},
}


def documents() -> MicroBatch:
    """Sequences of three lengths, of which some tokens are not asked for."""
    parts = [(start + 7 * torch.arange(length)) % 300 for start, length in ((1, 20), (5, 20), (40, 9), (2, 1))]
    batch = labelled(parts, parts)
    batch.targets[:4] = NO_TARGET
    return batch


def gradients(
    model: Transformer, *, fused: bool, dtype: torch.dtype = torch.float32, again: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and the gradient of each weight."""
    model.zero_grad()
    with pytest.MonkeyPatch.context() as patch:
        for module in () if fused else (fused_layer, loss):
            patch.setattr(module, "library", lambda: None)
        with computing_gradients(model, again=again):
            torch.manual_seed(3)  # of dropout
            total = summed_loss(model, documents(), dtype=dtype)
            (total / 50).backward()  # type: ignore[no-untyped-call]
    found = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    assert found
    return total.detach(), {name: grad.clone() for name, grad in found.items()}


def assert_equal_gradients(model: Transformer, *, again: bool = False) -> None:
    (total, own), (expected_total, expected) = (gradients(model, fused=fused, again=again) for fused in (True, False))
    torch.testing.assert_close(total, expected_total, atol=0, rtol=1e-6)
    assert own.keys() == expected.keys()
    assert distance(own, expected) <= 1e-6
    for name, grad in own.items():
        assert distance({name: grad}, expected) <= 4e-6, name


def distance(gradients: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The norm of the difference, relative to that of what is expected."""
    norms = torch.tensor([[(gradients[name] - expected[name]).norm(), expected[name].norm()] for name in gradients])
    differences, wholes = norms.double().square().sum(0).sqrt().tolist()
    return float(differences / wholes)


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_gradients_are_those_of_the_readable_forward(changes: dict[str, Any]) -> None:
    assert_equal_gradients(tiny.model(**{"logn": False, "vocab_rows": 307, "rotary_scaling": None, **changes}))


@pytest.mark.parametrize("name", kernels.available_instruction_sets())
def test_on_every_instruction_set(name: str) -> None:
    best = kernels.instruction_set()
    assert best is not None
    kernels.use_instruction_set(name)
    try:
        assert_equal_gradients(tiny.model(vocab_rows=307))
    finally:
        kernels.use_instruction_set(best)


def test_layers_that_are_computed_again() -> None:
    assert_equal_gradients(tiny.model(vocab_rows=307), again=True)


@pytest.mark.parametrize("bits", [32, 8])
def test_adapters_beside_floats_and_packed_weights(bits: int) -> None:
    model = tiny.model(vocab_rows=307) if bits == 32 else random_model(bits=bits)
    add_adapter(model, LORA)
    for name, parameter in model.named_parameters():
        if name.endswith(".b"):
            torch.nn.init.normal_(parameter, std=0.1)
    assert_equal_gradients(model)


@pytest.mark.parametrize("name", ["the original's", "shared heads", "a window"])
def test_in_bfloat16_it_is_as_near_to_float32_as_the_readable_one(name: str) -> None:
    model = tiny.model(**{"vocab_rows": 307, **SHAPES[name]})
    _, exact = gradients(model, fused=False)
    found = []
    for fused in (True, False):
        total, rounded = gradients(model, fused=fused, dtype=torch.bfloat16)
        assert total.dtype == torch.float32 and {grad.dtype for grad in rounded.values()} == {torch.float32}
        found.append(rounded)
    assert 0 < distance(found[0], exact) < 1.25 * distance(found[1], exact)
    for weight in exact:
        assert distance({weight: found[0][weight]}, exact) < 2 * distance({weight: found[1][weight]}, exact), weight


def test_a_model_in_bfloat16_is_trained_in_it() -> None:
    model = tiny.model(vocab_rows=307).bfloat16()
    totals, grads = zip(*(gradients(model, fused=fused, dtype=torch.bfloat16) for fused in (True, False)), strict=True)
    torch.testing.assert_close(totals[0], totals[1], atol=0, rtol=1e-2)
    assert {grad.dtype for grad in grads[0].values()} == {torch.bfloat16}
    assert distance(*grads) < 0.05


def test_the_head_s_gradients_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight = torch.randn(20, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    targets = torch.randint(0, 50, (20,))
    whole = torch.autograd.grad(head_loss(hidden, weight, targets, dtype=torch.float32), (hidden, weight))
    monkeypatch.setattr(loss, "_CHUNK_LOGITS", 3 * 50)  # three rows
    parts = torch.autograd.grad(head_loss(hidden, weight, targets, dtype=torch.float32), (hidden, weight))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    model, before, found = tiny.model(vocab_rows=307), kernels.num_threads(), []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        with computing_gradients(model, again=False):
            assert kernels.num_threads() == threads  # PyTorch's
        found.append(gradients(model, fused=True))
    assert kernels.num_threads() == before
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(grad, found[1][1][name]) for name, grad in found[0][1].items())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_shows_in_the_loss(value: float) -> None:
    for column in (3, 306):
        weight = torch.randn(307, 8, requires_grad=True)
        with torch.no_grad():
            weight[column] = value
        assert not head_loss(torch.ones(2, 8), weight, torch.tensor([5, 6]), dtype=torch.float32).isfinite()


@pytest.mark.parametrize("length", [1, 16, 37])
def test_attention_that_keeps_its_probabilities_is_attention(length: int) -> None:
    query, key, value = inputs = [torch.randn(3, length, 12, requires_grad=True) for _ in range(3)]
    mixed = [
        CausalAttention.apply(query, key, value),  # type: ignore[no-untyped-call]
        F.scaled_dot_product_attention(query, key, value, is_causal=True),
    ]
    upstream = torch.randn_like(mixed[0])
    torch.testing.assert_close(*mixed, atol=1e-6, rtol=1e-5)
    own, expected = (torch.autograd.grad(one, inputs, upstream) for one in mixed)
    for one, other in zip(own, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
