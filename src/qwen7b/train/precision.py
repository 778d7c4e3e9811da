"""Which number format a machine computes in faster, and how fast: a probe of a few seconds at the start of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from qwen7b.files.stored import DTYPES
from qwen7b.system.progress import say

Precision: TypeAlias = Literal["float32", "bfloat16"]

_SIZE = 1024
"""Rows and columns of the matrices that are multiplied."""
_SECONDS = 1.5
"""What each format gets; with the first products, which are not timed, the probe takes less than five seconds."""
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


def probe_precision(precision: Precision | Literal["auto"], *, device: torch.device) -> Probe:
    """Time products in a format; "auto" times both and chooses bfloat16 where it is clearly faster.

    Some CPUs have units for bfloat16 (AMX, AVX512-BF16), and on the others it is emulated, which is slow.
    """
    names: tuple[Precision, ...] = ("float32", "bfloat16") if precision == "auto" else (precision,)
    peaks = {name: _operations_per_second(DTYPES[name], device=device) for name in names}
    if precision == "auto":
        precision = "bfloat16" if peaks["bfloat16"] > _WORTH * peaks["float32"] else "float32"
        shown = ", ".join(f"{name} {peak / 1e9:,.0f}" for name, peak in peaks.items())
        say(f"Computing in {precision}: a probe did {shown} billion operations a second.")
    return Probe(precision=precision, peak=peaks[precision])


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
