"""Blocks of rows among threads: all of them, in order, few at a time, and torch as it was before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from qwen7b.files.blocks import dealt_out, map_blocks
from qwen7b.files.stored import BLOCK_BYTES, row_ranges
from qwen7b.files.views import Zeros

ROWS = 41
STORED = Zeros((ROWS, BLOCK_BYTES // 4), torch.float32)  # a block a row


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with dealt_out():
        yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_all_blocks_come_in_order() -> None:
    def work(start: int, stop: int) -> tuple[int, int]:
        time.sleep(0.002 * (start % 3))
        return start, stop

    assert list(map_blocks(work, STORED)) == list(row_ranges(STORED)) == [(row, row + 1) for row in range(ROWS)]
    assert list(map_blocks(work, Zeros((0, 4), torch.float32))) == []


def test_each_thread_computes_alone_and_without_gradients() -> None:
    def work(start: int, stop: int) -> tuple[int, bool, int]:
        time.sleep(0.001)
        return torch.get_num_threads(), torch.is_inference_mode_enabled(), threading.get_ident()

    threads, modes, workers = zip(*map_blocks(work, STORED), strict=True)
    assert set(threads) == {1} and set(modes) == {True}
    assert torch.get_num_threads() == 1
    assert 1 < len(set(workers)) <= 3 and threading.get_ident() not in workers


def test_few_blocks_are_held_at_a_time() -> None:
    begun = []
    blocks = map_blocks(lambda start, stop: begun.append(start), STORED)
    next(blocks)
    time.sleep(0.05)
    assert len(begun) <= 8
    blocks.close()
    assert len(begun) <= 8


def test_an_error_reaches_the_caller() -> None:
    def work(start: int, stop: int) -> int:
        if start == 7:
            raise ValueError("row 7")
        return start

    made = []
    with pytest.raises(ValueError, match="row 7"):
        made.extend(map_blocks(work, STORED))
    assert threading.active_count() == 1 or not any("ThreadPool" in thread.name for thread in threading.enumerate())
