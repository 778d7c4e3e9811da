"""How weights follow their gradients: the settings of optimizers, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qwen7b.config.checked import fraction, positive_number
from qwen7b.errors import SettingError, quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamW:
    """Adam with decoupled weight decay. https://arxiv.org/abs/1711.05101"""

    KIND: ClassVar[str] = "adamw"
    learning_rate: float = 3e-4
    """The highest rate, which the schedule scales."""
    beta1: float = 0.9
    """The share of the past in the mean of gradients."""
    beta2: float = 0.95
    """The share of the past in the mean of their squares."""
    epsilon: float = 1e-8
    """What is added to the divisor. Qwen's memo says 1e-6, its report 1e-8."""
    weight_decay: float = 0.1
    """The share of matrices that goes at each step, times the rate. Norms and biases do not decay."""

    def __post_init__(self) -> None:
        _check_moments(self.learning_rate, self.beta1, self.beta2, self.epsilon, self.weight_decay)


@dataclass(frozen=True, kw_only=True, slots=True)
class Muon:
    """Orthogonalized momentum for the matrices within the layers, AdamW for all else.

    https://kellerjordan.github.io/posts/muon/; an update is scaled to the size of AdamW's, so that rates and decay
    carry over: https://arxiv.org/abs/2502.16982. Query, key and value are orthogonalized as the one matrix they are.
    """

    KIND: ClassVar[str] = "muon"
    learning_rate: float = 3e-4
    """The highest rate, which the schedule scales, of matrices and of all else."""
    momentum: float = 0.95
    """The share of the past in the mean of a matrix's gradients."""
    beta1: float = 0.9
    """AdamW's share of the past in the mean of gradients, for all else."""
    beta2: float = 0.95
    """AdamW's share of the past in the mean of their squares, for all else."""
    epsilon: float = 1e-8
    """What AdamW adds to the divisor, for all else."""
    weight_decay: float = 0.1
    """The share of matrices that goes at each step, times the rate. Norms and biases do not decay."""

    def __post_init__(self) -> None:
        _below_one("momentum", self.momentum)
        _check_moments(self.learning_rate, self.beta1, self.beta2, self.epsilon, self.weight_decay)


def _check_moments(learning_rate: float, beta1: float, beta2: float, epsilon: float, weight_decay: float) -> None:
    positive_number("learning_rate", learning_rate)
    _below_one("beta1", beta1)
    _below_one("beta2", beta2)
    positive_number("epsilon", epsilon)
    fraction("weight_decay", weight_decay)


def _below_one(name: str, value: object) -> None:
    if fraction(name, value) == 1:
        raise SettingError(f"{name} must be below 1, found {quoted(value)}: nothing new would ever count")


Optimizer = AdamW | Muon
