"""The recipe of direct preference optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qwen7b.config.checked import positive_number
from qwen7b.train.finetune_recipe import TuningRecipe


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceRecipe(TuningRecipe):
    """A recipe of direct preference optimization, with the rates of TRL's example of it."""

    epochs: float = 1.0
    """How many times every pair is read, where `steps` does not say it."""
    warmup_fraction: float = 0.1
    """The share of the steps in which the rate rises; then it falls along a cosine to 0."""
    weight_decay: float = 0.0
    """The share of matrices that goes at each step, times the rate."""
    beta: float = 0.1
    """What log-probabilities beyond the reference's are multiplied by: the more, the nearer it stays to the model."""

    LORA_RATE: ClassVar[float] = 5e-6
    FULL_RATE: ClassVar[float] = 5e-7

    def __post_init__(self) -> None:
        TuningRecipe.__post_init__(self)
        positive_number("beta", self.beta)
