"""Packed models of random weights, for tests of the engine that need no others."""

from __future__ import annotations

import pytest
import torch

from qwen7b.model import Transformer
from random_packed import random_model


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(1)
    return random_model()


@pytest.fixture(scope="module")
def windowed() -> Transformer:
    torch.manual_seed(2)
    return random_model(attention_windows=(40, 0), context_length=2000, trained_length=2000)
