"""Intervals around scores, tests between runs, and pass@k: what a number of right answers says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from statistics import NormalDist, fmean
from typing import TypeVar

T = TypeVar("T")

_Z = NormalDist().inv_cdf(0.975)
_RESAMPLES = 1000


def wilson_interval(num_correct: float, num_items: float) -> tuple[float, float]:
    """The 95 % interval of a share, in percent (Wilson 1927), which holds near 0 and 100 % and for few items too.

    >>> [round(end, 1) for end in wilson_interval(8, 10)]
    [49.0, 94.3]
    """
    share = num_correct / num_items
    middle = share + _Z**2 / (2 * num_items)
    half = _Z * math.sqrt(share * (1 - share) / num_items + (_Z / (2 * num_items)) ** 2)
    scale = 100 / (1 + _Z**2 / num_items)
    return max((middle - half) * scale, 0.0), min((middle + half) * scale, 100.0)


def mean_interval(groups: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """The 95 % interval of the mean over groups of their shares, in percent.

    It is Wilson's of as many items as would tell a plain share as exactly (Kish's effective sample size), which holds
    for groups of one item too.

    >>> mean_interval([[True, False], [True, True]]) == wilson_interval(3, 4)
    True
    """
    num_effective = len(groups) ** 2 / sum(1 / len(group) for group in groups)
    return wilson_interval(num_effective * fmean(map(fmean, groups)), num_effective)


def share_right(groups: Sequence[Sequence[bool]], *, is_mean: bool) -> tuple[float, tuple[float, float]]:
    """The percentage that is right, over all items or as the mean over groups, with its 95 % interval.

    >>> [round(share_right([[True], [True, False, False]], is_mean=is_mean)[0], 1) for is_mean in (False, True)]
    [50.0, 66.7]
    """
    if is_mean:
        return 100 * fmean(map(fmean, groups)), mean_interval(groups)
    correct, items = sum(map(sum, groups)), sum(map(len, groups))
    return 100 * correct / items, wilson_interval(correct, items)


def bootstrap_interval(
    items: Sequence[T], score: Callable[[Sequence[T]], float], *, resamples: int = _RESAMPLES
) -> tuple[float, float] | None:
    """The 95 % interval of any score: its percentiles over samples of the items (Efron 1979), the same each time.

    None for a single item, of which all samples are the same.
    """
    if len(items) < 2:
        return None
    random = Random(0)
    scores = sorted(score(random.choices(items, k=len(items))) for _ in range(resamples))
    return scores[int(0.025 * resamples)], scores[math.ceil(0.975 * resamples) - 1]


def mcnemar_p(only_first: int, only_second: int) -> float:
    """How likely two runs equally good differ at least so much: of the items that just one of them has right,
    `only_first` and `only_second` (McNemar 1947, exact).

    >>> mcnemar_p(1, 9)
    0.021484375
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(math.comb(total, count) for count in range(fewer + 1)) / (1 << total))


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """The chance that one of k samples passes, without bias from the `num_passed` of `num_samples` (Chen et al. 2021).

    >>> pass_at_k(10, 3, 1), pass_at_k(10, 3, 8)
    (0.3, 1.0)
    """
    return 1 - math.comb(num_samples - num_passed, k) / math.comb(num_samples, k)
