"""Methods to stretch rotary positions for sequences beyond the trained length; `model/rotary.py` has the formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qwen7b.config.checked import positive_number, whole_number
from qwen7b.errors import SettingError


@dataclass(frozen=True, slots=True)
class DynamicNtk:
    """The rotary base grows with the sequence's length. Qwen report, https://arxiv.org/abs/2309.16609, section 2.3."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearInterpolation:
    """Positions are divided by `factor`, at every length. https://arxiv.org/abs/2306.15595"""

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True, kw_only=True, slots=True)
class Yarn:
    """Low frequencies are divided by `factor`, high ones kept, those between mixed. https://arxiv.org/abs/2309.00071"""

    factor: float
    original_length: int
    """The trained length before the stretch: the turns within it decide whether a frequency is high or low."""
    beta_fast: float = 32.0
    """A frequency of at least this many turns is kept."""
    beta_slow: float = 1.0
    """A frequency of at most this many turns is divided."""
    attention_factor: float | None = None
    """The factor on cosines and sines; None means `yarn_attention_factor(factor)`."""

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        whole_number("original_length", self.original_length, minimum=1)
        for name in ("beta_fast", "beta_slow"):
            positive_number(name, getattr(self, name))
        if self.attention_factor is not None:
            positive_number("attention_factor", self.attention_factor)


def yarn_attention_factor(factor: float) -> float:
    """The paper's factor on cosines and sines: 0.1 ln(factor) + 1."""
    return 0.1 * math.log(factor) + 1


RotaryScaling = DynamicNtk | LinearInterpolation | Yarn


def _check_factor(factor: object) -> None:
    if positive_number("factor", factor) < 1:
        raise SettingError(f"factor must be a number of at least 1, found {factor}")
