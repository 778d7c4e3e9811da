"""How the learning rate goes from step to step: pure functions of the step, as types."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from qwen7b.config.checked import fraction, whole_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine:
    """Up in a line, then down along a cosine until the last step. https://arxiv.org/abs/1608.03983"""

    KIND: ClassVar[str] = "cosine"
    warmup_steps: int = 0
    """The steps in which the rate rises to its highest."""
    final_fraction: float = 0.1
    """The share of the highest rate at the last step. 0 is the rate that would follow it, as at a rate of 0 the last
    step would change nothing."""

    def __post_init__(self) -> None:
        whole_number("warmup_steps", self.warmup_steps, minimum=0)
        fraction("final_fraction", self.final_fraction)

    def factor(self, step: int, *, steps: int) -> float:
        """The share of the highest rate at a step of `steps`, counted from 0.

        >>> [round(Cosine(warmup_steps=2).factor(step, steps=5), 3) for step in range(5)]
        [0.5, 1.0, 1.0, 0.55, 0.1]
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        at_final = steps - 1 if self.final_fraction else steps
        done = (step - self.warmup_steps) / max(at_final - self.warmup_steps, 1)
        return self.final_fraction + (1 - self.final_fraction) * (1 + math.cos(math.pi * min(done, 1))) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmupStableDecay:
    """Up in a line, level, then down in a line: the level part can be prolonged. https://arxiv.org/abs/2404.06395"""

    KIND: ClassVar[str] = "wsd"
    warmup_steps: int = 0
    """The steps in which the rate rises to its highest."""
    decay_fraction: float = 0.2
    """The share of all steps in which it falls."""
    final_fraction: float = 0.0
    """The share of the highest rate that would follow the last step."""

    def __post_init__(self) -> None:
        whole_number("warmup_steps", self.warmup_steps, minimum=0)
        fraction("decay_fraction", self.decay_fraction)
        fraction("final_fraction", self.final_fraction)

    def factor(self, step: int, *, steps: int) -> float:
        """The share of the highest rate at a step of `steps`, counted from 0.

        >>> [WarmupStableDecay(warmup_steps=2, decay_fraction=0.4).factor(step, steps=5) for step in range(5)]
        [0.5, 1.0, 1.0, 1.0, 0.5]
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        decay_steps = self.decay_steps(steps)
        left = min(1.0, (steps - step) / decay_steps) if decay_steps else 1.0
        return self.final_fraction + (1 - self.final_fraction) * left

    def decay_steps(self, steps: int) -> int:
        """The steps in which the rate falls."""
        return round(self.decay_fraction * steps)


Schedule = Cosine | WarmupStableDecay
