"""The arithmetic of an update, written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qwen7b.train.optimizer_settings import AdamW, Muon
from qwen7b.train.optimizers import Optimizers

MOMENTS = {"beta1": 0.8, "beta2": 0.6, "epsilon": 0.01, "weight_decay": 0.3}


@pytest.mark.parametrize("settings", [AdamW(**MOMENTS), Muon(**MOMENTS)], ids=["adamw", "muon"])
def test_an_update_is_adamw_s_and_only_matrices_decay(settings: AdamW | Muon) -> None:
    """Also that of Muon, for what is no matrix of a layer. Three steps, as in the first one the betas cancel out."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    expected = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    mean = {name: torch.zeros_like(value) for name, value in expected.items()}
    square = {name: torch.zeros_like(value) for name, value in expected.items()}
    optimizers = Optimizers(settings, model)
    for step, rate in enumerate((0.1, 0.2, 0.05), start=1):
        for name, parameter in model.named_parameters():
            gradient = torch.randn_like(parameter)
            parameter.grad = gradient.clone()
            mean[name] = 0.8 * mean[name] + 0.2 * gradient
            square[name] = 0.6 * square[name] + 0.4 * gradient**2
            decay = 0.3 if name == "weight" else 0.0
            divisor = (square[name] / (1 - 0.6**step)).sqrt() + 0.01
            expected[name] = expected[name] * (1 - rate * decay) - rate * mean[name] / (1 - 0.8**step) / divisor
        optimizers.step(rate=rate)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.detach(), expected[name], atol=1e-6, rtol=1e-5)
