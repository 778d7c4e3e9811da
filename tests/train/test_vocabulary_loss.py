"""The loss under a frozen head, a block of the vocabulary at a time, is the textbook's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qwen7b.adapters.adapted_modules import AdaptedHead, TokenRows
from qwen7b.packed.modules import PackedLinear
from qwen7b.packed.unpacking import UnpackingLinear
from qwen7b.train.vocabulary_loss import frozen_head_losses
from random_packed import random_matrix

ROWS, COLUMNS, COUNT = 150, 72, 40
IDS = torch.tensor([3, 64, 149])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen7b.train.vocabulary_loss._BLOCK_LOGITS", COUNT * 20)
    monkeypatch.setattr("qwen7b.train.vocabulary_loss._BLOCK_ROWS", (16, 64))


def head_and_weight(kind: str) -> tuple[nn.Module, torch.Tensor]:
    """A head, and all of its weight as floats."""
    if kind == "packed":
        matrix = random_matrix(ROWS, COLUMNS, bits=8)
        return UnpackingLinear(PackedLinear(matrix)), matrix.dequantize()
    linear = nn.Linear(COLUMNS, ROWS, bias=False)
    return linear, linear.weight.detach().clone()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("has_rows", [True, False])
@pytest.mark.parametrize("kind", ["packed", "floats"])
def test_losses_and_gradients(kind: str, has_rows: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    head, weight = head_and_weight(kind)
    hidden = (3 * torch.randn(COUNT, COLUMNS)).requires_grad_()
    targets = torch.randint(0, ROWS, (COUNT,))
    targets[:3] = IDS
    trained = [hidden]
    if has_rows:
        rows = TokenRows(IDS, torch.randn(3, COLUMNS))
        head, weight = AdaptedHead(head, rows), weight.index_copy(0, IDS, rows.rows)
        trained.append(rows.rows)
        torch.testing.assert_close(head(hidden), F.linear(hidden, weight), atol=1e-5, rtol=1e-5)
    weights_of_losses = torch.rand(COUNT)
    actual = frozen_head_losses(hidden, head, targets, dtype=dtype)
    logits = F.linear(hidden.to(dtype), weight.to(dtype)).float()
    expected = F.cross_entropy(logits, targets, reduction="none")
    assert actual.dtype == torch.float32 and actual.shape == (COUNT,)
    close = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 3e-2, "rtol": 3e-2}
    torch.testing.assert_close(actual, expected, **close)
    own, theirs = (torch.autograd.grad((losses * weights_of_losses).sum(), trained) for losses in (actual, expected))
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, other, **close)


def test_huge_logits_overflow_nothing_and_no_number_stays_none() -> None:
    head, weight = head_and_weight("floats")
    hidden, targets = 1e4 * torch.randn(4, COLUMNS), torch.tensor([1, 2, 3, 149])
    losses = frozen_head_losses(hidden, head, targets, dtype=torch.float32)
    torch.testing.assert_close(losses, F.cross_entropy(F.linear(hidden, weight), targets, reduction="none"))
    hidden[1, 0] = float("nan")
    assert frozen_head_losses(hidden, head, targets, dtype=torch.float32).isfinite().tolist() == [1, 0, 1, 1]
