"""Intervals, the test between two runs, and pass@k, against known values."""

from __future__ import annotations

from statistics import fmean

import pytest

from qwen7b.tasks.intervals import bootstrap_interval, mcnemar_p, mean_interval, pass_at_k, wilson_interval


def test_wilson_interval() -> None:
    # Brown, Cai and DasGupta (2001) and the usual tables: 0 of 10, 5 of 10, 10 of 10.
    assert wilson_interval(0, 10) == pytest.approx((0, 27.753), abs=0.001)
    assert wilson_interval(5, 10) == pytest.approx((23.659, 76.341), abs=0.001)
    assert wilson_interval(10, 10) == pytest.approx((72.247, 100), abs=0.001)


def test_one_item_has_no_bootstrap_interval() -> None:
    assert bootstrap_interval([1.0], fmean) is None


def test_bootstrap_interval_is_near_that_of_a_share() -> None:
    items = [index < 120 for index in range(400)]
    interval = bootstrap_interval(items, lambda drawn: 100 * fmean(drawn))
    assert interval is not None
    low, high = interval
    wilson = wilson_interval(120, 400)
    assert low == pytest.approx(wilson[0], abs=1) and high == pytest.approx(wilson[1], abs=1)
    assert (low, high) == bootstrap_interval(items, lambda drawn: 100 * fmean(drawn))


def test_the_interval_of_a_mean_over_groups() -> None:
    assert mean_interval([[True] * 30 + [False] * 10, [False] * 20 + [True] * 20]) == wilson_interval(50, 80)
    assert mean_interval([[True], [True], [False]]) == pytest.approx(wilson_interval(2, 3))
    uneven = mean_interval([[True, False], [True] * 50 + [False] * 50])
    assert uneven == pytest.approx(wilson_interval(1 / (0.5 + 0.01) * 2, 4 / (0.5 + 0.01)))


def test_mcnemar() -> None:
    assert mcnemar_p(0, 0) == 1
    assert mcnemar_p(5, 5) == 1
    assert mcnemar_p(0, 6) == pytest.approx(2 / 64)
    assert mcnemar_p(9, 1) == mcnemar_p(1, 9) == pytest.approx(0.0215, abs=1e-4)
    assert 0 <= mcnemar_p(3000, 4000) < 1e-20


def test_pass_at_k() -> None:
    assert [pass_at_k(4, 1, k) for k in (1, 2, 4)] == [0.25, 0.5, 1]
    assert pass_at_k(5, 0, 5) == 0
    assert pass_at_k(200, 200, 1) == 1
