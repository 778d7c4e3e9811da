"""Which number format a machine computes in faster, and how fast: a probe of a few seconds at the start of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch

from qwen7b.files.stored import DTYPES
from qwen7b.system.progress import say

Precision: TypeAlias = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_SIZE = 1024
"""Rows and columns of the matrices that are multiplied."""
_SECONDS = 1.5
"""What each format gets, and then the peak of the chosen one: less than five seconds together."""
_TRIALS = 20
"""The most trials of a format."""
_WORTH = 1.2
"""bfloat16 loses digits: it must be so many times as fast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A format, and the operations a second that the machine does in it at most."""

    precision: Precision
    peak: float

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]


def probe_precision(
    precision: Precision | Literal["auto"],
    *,
    device: torch.device,
    trial: Callable[[torch.dtype], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Probe:
    """Time products in a format; "auto" chooses bfloat16 where it is clearly faster.

    Some CPUs have units for bfloat16 (AMX, AVX512-BF16), and on the others it is emulated, which is slow. `trial`
    computes a part of a step in a format: where it is given it decides, as in small models all else takes more time
    than products; else large products do.
    """
    if precision == "auto":
        seconds = {name: _seconds_of(DTYPES[name], trial=trial, device=device, clock=clock) for name in PRECISIONS}
        precision = "bfloat16" if seconds["float32"] > _WORTH * seconds["bfloat16"] else "float32"
        ratio = seconds["float32"] / seconds["bfloat16"]
        say(f"Computing in {precision}: by a probe bfloat16 is {ratio:.2g} times as fast as float32 here.")
    return Probe(precision=precision, peak=_operations_per_second(DTYPES[precision], device=device))


def _seconds_of(
    dtype: torch.dtype,
    *,
    trial: Callable[[torch.dtype], object] | None,
    device: torch.device,
    clock: Callable[[], float],
) -> float:
    """The least time of a trial in a format: the first, which also prepares, counts only if it is all there is."""
    if trial is None:
        return 1 / _operations_per_second(dtype, device=device)
    times: list[float] = []
    while not times or (sum(times) < _SECONDS and len(times) < _TRIALS):
        start = clock()
        trial(dtype)
        times.append(clock() - start)
    return min(times[1:] or times)


@torch.no_grad()
def _operations_per_second(dtype: torch.dtype, *, device: torch.device) -> float:
    """The best of some products of square matrices."""
    left, right = torch.randn(2, _SIZE, _SIZE, device=device).to(dtype)

    def seconds() -> float:
        start = time.perf_counter()
        product = left @ right
        product[0, 0].item()  # waits for a GPU
        return time.perf_counter() - start

    seconds()
    stop, best = time.perf_counter() + _SECONDS, float("inf")
    while best == float("inf") or time.perf_counter() < stop:
        best = min(best, seconds())
    return 2 * _SIZE**3 / best
