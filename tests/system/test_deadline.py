"""Calls that have no time-out of their own get one."""

from __future__ import annotations

import threading

import pytest

from qwen7b.system.deadline import within


def test_results_and_errors_come_through() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_a_late_call_is_left() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer in 0.05 s"):
        within(0.05, never.wait)
    never.set()
