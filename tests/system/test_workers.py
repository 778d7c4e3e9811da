"""Tasks among threads: all of them, in order, few at a time, and PyTorch as it was before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from qwen7b.system.workers import Workers, workers

TASKS = [(number, number + 1) for number in range(41)]


@pytest.fixture
def threads() -> Iterator[Workers]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with workers() as threads:
            yield threads
        assert torch.get_num_threads() == 3
        seen: list[int] = []
        later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [3]
    finally:
        torch.set_num_threads(before)


def test_all_results_come_in_order(threads: Workers) -> None:
    def work(start: int, stop: int) -> tuple[int, int]:
        time.sleep(0.002 * (start % 3))
        return start, stop

    assert list(threads.results(work, TASKS)) == TASKS
    assert list(threads.results(work, [])) == []


def test_all_tasks_are_done_when_run_returns(threads: Workers) -> None:
    done = torch.zeros(len(TASKS), dtype=torch.int64)

    def work(start: int, stop: int) -> None:
        time.sleep(0.001)
        done[start:stop] += 1

    threads.run(work, TASKS)
    assert (done == 1).all()


def test_each_thread_computes_alone_while_the_caller_keeps_its_own(threads: Workers) -> None:
    def work(start: int, stop: int) -> tuple[int, int]:
        time.sleep(0.001)
        return torch.get_num_threads(), threading.get_ident()

    numbers, idents = zip(*threads.results(work, TASKS), strict=True)
    assert set(numbers) == {1} and torch.get_num_threads() == threads.count == 3
    assert 1 < len(set(idents)) <= 3 and threading.get_ident() not in idents


@pytest.mark.parametrize("is_inference", [True, False])
def test_work_is_done_in_the_caller_s_mode_and_without_gradients(threads: Workers, is_inference: bool) -> None:
    def work() -> tuple[bool, bool, bool]:
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.ones(1).is_inference()

    with torch.inference_mode(is_inference):
        assert list(threads.results(work, [()])) == [(is_inference, False, is_inference)]


def test_few_tasks_are_begun_at_a_time(threads: Workers) -> None:
    begun = []
    results = threads.results(lambda start, stop: begun.append(start), TASKS)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 8
    results.close()
    time.sleep(0.05)
    assert len(begun) <= 8


def test_an_error_reaches_the_caller_and_ends_the_work(threads: Workers) -> None:
    done = []

    def work(start: int, stop: int) -> int:
        if start == 7:
            raise ValueError("task 7")
        time.sleep(0.002)
        done.append(start)
        return start

    with pytest.raises(ValueError, match="task 7"):
        threads.run(work, TASKS)
    count = len(done)
    time.sleep(0.05)
    assert len(done) == count < len(TASKS)
    assert list(threads.results(lambda start, stop: start, TASKS[:2])) == [0, 1]


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with workers() as threads:
        threads.run(lambda start, stop: None, TASKS)
    assert threading.active_count() == before


def test_a_caller_that_waits_has_one_thread_meanwhile() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with workers(caller_waits=True) as threads:
            assert torch.get_num_threads() == 1 and threads.count == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
