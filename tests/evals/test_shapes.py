"""Random models: of the shape and in the format asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from qwen7b.errors import ResourceError, SettingError
from qwen7b.evals import SHAPES, random_model
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes

TINY = replace(SHAPES["demo"], vocab_rows=320, hidden_size=128, num_layers=2, num_heads=2, feed_forward_size=192)


@pytest.fixture(autouse=True)
def tiny_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    monkeypatch.setitem(SHAPES, "untied", replace(TINY, tied_head=False, num_kv_heads=2))


@pytest.mark.parametrize("shape", ["tiny", "untied"])
@pytest.mark.parametrize("quantize", [None, "q4", "q8", "nf4"])
def test_it_computes(shape: str, quantize: str | None) -> None:
    model = random_model(shape, quantize=quantize)
    with torch.inference_mode():
        logits = model(torch.randint(320, (1, 5)))
    assert logits.shape == (1, 5, 320) and logits.isfinite().all() and logits.std() > 0


def test_unquantized_weights_have_the_dtype_and_the_spread_of_real_ones() -> None:
    model = random_model("tiny", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert float(model.layers[0].feed_forward.up.weight.detach().float().std()) == pytest.approx(0.02, rel=0.1)
    assert model.head.weight is model.embedding.weight


def test_the_shapes_have_the_sizes_of_their_names() -> None:
    for name, billions in (("1.8b", 1.84), ("7b", 7.72), ("14b", 14.17), ("demo", 0.494)):
        assert count_weights(parameter_shapes(SHAPES[name])) / 1e9 == pytest.approx(billions, rel=0.01)


def test_what_does_not_fit_or_is_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match=r"a shape must be one of 1.8b, 7b, 14b, demo"):
        random_model("70b")
    with pytest.raises(SettingError, match="a weight format must be one of q8, q4, nf4, found 'q3'"):
        random_model("tiny", quantize="q3")
    with pytest.raises(SettingError, match="packed weights compute in float32"):
        random_model("tiny", quantize="q4", dtype=torch.bfloat16)
    monkeypatch.setitem(SHAPES, "huge", replace(TINY, hidden_size=1 << 20, feed_forward_size=1 << 20))
    with pytest.raises(ResourceError, match="a model of the shape huge needs"):
        random_model("huge", quantize="q4")
