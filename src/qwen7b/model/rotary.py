"""Position encodings: the rotary embedding, its scalings, and LogN, as pure functions of lengths and positions.

Rotary embedding: Su et al., https://arxiv.org/abs/2104.09864. Dynamic NTK and LogN: the Qwen report,
https://arxiv.org/abs/2309.16609, section 2.3, after https://kexue.fm/archives/8823 (LogN). Linear interpolation: Chen
et al., https://arxiv.org/abs/2306.15595. YaRN: Peng et al., https://arxiv.org/abs/2309.00071.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qwen7b.config.rotary_scaling import LinearInterpolation, RotaryScaling, Yarn, yarn_attention_factor


def ntk_alpha(length: int, *, trained_length: int) -> float:
    """The NTK alpha, which stretches the rotary base, for a sequence of `length` tokens: max(2^ceil(log2(n/L) + 1) -
    1, 1).

    >>> [ntk_alpha(n, trained_length=2048) for n in (1, 2048, 2049, 4096, 4097, 8192)]
    [1.0, 1.0, 3.0, 3.0, 7.0, 7.0]
    """
    if length < 1:
        return 1.0
    return float(max(2 ** math.ceil(math.log2(length / trained_length) + 1) - 1, 1))


def rotary_frequencies(
    alphas: Sequence[float],
    *,
    base: float,
    head_size: int,
    scaling: RotaryScaling | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The radians per position by which each rotary pair turns, float32 (B, D/2), for one NTK alpha per sequence.

    Frequency i of D/2 is (base · alpha^(D/(D-2)))^(-2i/D). Linear interpolation divides all of them by its factor,
    YaRN some of them, see `yarn_kept`.
    """
    exponents = torch.arange(0, head_size, 2, device=device, dtype=torch.float32) / head_size
    bases = [base * alpha ** (head_size / (head_size - 2)) if alpha != 1 else base for alpha in alphas]
    frequencies = torch.stack([1.0 / (scaled_base**exponents) for scaled_base in bases])
    if isinstance(scaling, LinearInterpolation):
        return frequencies / scaling.factor
    if isinstance(scaling, Yarn):
        kept = yarn_kept(scaling, base=base, head_size=head_size).to(frequencies.device)
        return frequencies * kept + frequencies / scaling.factor * (1 - kept)
    return frequencies


def rotary_tables(
    positions: Tensor, frequencies: Tensor, *, scaling: RotaryScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines, float32 (..., 1, D), of the angles at `positions` (...) for `frequencies` (..., D/2).

    The second half of D repeats the first. YaRN multiplies both by its attention factor.
    """
    angles = positions[..., None].float() * frequencies
    # Of two rows MKL computes the cosines on several threads, which then spin for milliseconds and slow what follows:
    # with a gap between them it is called row by row.
    angles = nn.functional.pad(angles, (0, 1))[..., :-1]
    halves = [angles.cos(), angles.sin()]
    if isinstance(scaling, Yarn):
        factor = scaling.attention_factor
        if factor is None:
            factor = yarn_attention_factor(scaling.factor)
        halves = [half * factor for half in halves]
    cos, sin = (torch.cat((half, half), dim=-1)[..., None, :] for half in halves)
    return cos, sin


def yarn_kept(scaling: Yarn, *, base: float, head_size: int) -> Tensor:
    """The share of each frequency (D/2,) that YaRN keeps undivided: 1 for fast ones, falling linearly to 0 by index.

    Frequency i makes r turns within the original length where i = D ln(length / (2 pi r)) / (2 ln base): it is kept
    whole up to the i of `beta_fast` turns, rounded down, and not at all from that of `beta_slow` on, rounded up.
    """

    def index(turns: float) -> float:
        return head_size * math.log(scaling.original_length / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = max(math.floor(index(scaling.beta_fast)), 0), min(math.ceil(index(scaling.beta_slow)), head_size - 1)
    ramp = (torch.arange(head_size // 2, dtype=torch.float32) - first) / (last - first or 0.001)
    return 1 - ramp.clamp(0, 1)


def rotate(x: Tensor, *, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (i, i + D/2) of the heads of x (..., heads, D) by its position's angle, in float32."""
    first, second = x.float().chunk(2, dim=-1)
    rotated_half = torch.cat((-second, first), dim=-1)
    return (x.float() * cos + rotated_half * sin).to(x.dtype)


def logn_scale(positions: Tensor, *, trained_length: int) -> Tensor:
    """The factor (..., 1, 1) on the query at position p (...), from 0: log(p+1)/log(L) if p+1 > L, else 1."""
    counts = positions[..., None, None].float() + 1
    return (counts.log() / math.log(trained_length)).where(counts > trained_length, 1.0)
