"""Rows for new tokens, by hand on a small matrix."""

from __future__ import annotations

import torch

from qwen7b.files.views import InMemory
from qwen7b.vocab.new_rows import new_rows
from qwen7b.vocab.row_initials import Initial

ROWS = torch.tensor([[3.0, 4.0], [0.0, 10.0], [6.0, -8.0], [100.0, 100.0]])
PARTS = [[0], [0, 1], [2, 0, 0]]


def rows(initial: Initial, **settings: int) -> torch.Tensor:
    return new_rows(InMemory(ROWS), PARTS, initial=initial, num_used=3, **settings)


def test_the_mean_of_the_parts() -> None:
    assert torch.equal(rows(Initial.MEAN), torch.tensor([[3.0, 4.0], [1.5, 7.0], [4.0, 0.0]]))


def test_the_mean_as_long_as_the_parts_are_on_average() -> None:
    made = rows(Initial.MEAN_NORM)
    torch.testing.assert_close(made.norm(dim=1), torch.tensor([5.0, 7.5, 20 / 3]))
    torch.testing.assert_close(torch.cosine_similarity(made, rows(Initial.MEAN)), torch.ones(3))


def test_parts_that_cancel_out_leave_zero() -> None:
    made = new_rows(InMemory(torch.tensor([[1.0], [-1.0]])), [[0, 1]], initial=Initial.MEAN_NORM, num_used=2)
    assert made.tolist() == [[0.0]]


def test_zeros() -> None:
    assert torch.equal(rows(Initial.ZERO), torch.zeros(3, 2))


def test_random_rows_have_the_columns_mean_and_deviation_of_the_used_rows() -> None:
    made = new_rows(InMemory(ROWS), [[0]] * 20000, initial=Initial.RANDOM, num_used=3)
    torch.testing.assert_close(made.mean(0), ROWS[:3].mean(0), atol=0.2, rtol=0)
    torch.testing.assert_close(made.std(0), ROWS[:3].std(0, correction=0), atol=0.2, rtol=0)
    assert torch.equal(rows(Initial.RANDOM, seed=1), rows(Initial.RANDOM, seed=1))
    assert not torch.equal(rows(Initial.RANDOM, seed=1), rows(Initial.RANDOM, seed=2))
