"""PyTorch's threads are taken from one thread, and given back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from qwen7b.system.torch_threads import one_torch_thread


@pytest.fixture
def num_threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_only_the_caller_loses_its_threads(num_threads: int) -> None:
    with ThreadPoolExecutor(1) as pool, one_torch_thread():
        assert torch.get_num_threads() == 1
        assert pool.submit(torch.get_num_threads).result() == num_threads
        with one_torch_thread():
            pass
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == num_threads


def test_they_come_back_after_an_error(num_threads: int) -> None:
    with pytest.raises(KeyError), one_torch_thread():
        raise KeyError
    assert torch.get_num_threads() == num_threads
