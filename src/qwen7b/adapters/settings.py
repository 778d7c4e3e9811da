"""The settings of a low-rank adapter, and the layers that it changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qwen7b.checkpoint.tensor_names import Place, folder_names, tensors_of
from qwen7b.config import Family, ModelConfig
from qwen7b.config.checked import flag, fraction, positive_number, whole_number
from qwen7b.errors import SettingError, quoted

DEFAULT_TARGETS = {
    Family.QWEN: ("c_attn", "c_proj", "w1", "w2"),
    Family.QWEN2: ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    Family.LLAMA: ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
"""All linear layers of a model but its head, by the names in its checkpoint: the original's finetune.py has these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraSettings:
    """The settings of a low-rank adapter; the defaults are those of the original's finetune.py. Raises SettingError.

    targets    the last parts of the names that its layers have in the checkpoint; empty for none but tokens' rows
    scaled_by_root  whether alpha is divided by the root of the rank (rsLoRA), not by the rank
    token_ids  the tokens whose rows of the embedding and of the head are trained as a whole
    """

    targets: tuple[str, ...]
    rank: int = 64
    alpha: float = 16.0
    dropout: float = 0.05
    scaled_by_root: bool = False
    token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        whole_number("rank", self.rank, minimum=1)
        positive_number("alpha", self.alpha)
        if fraction("dropout", self.dropout) == 1:
            raise SettingError("dropout must be below 1, or nothing is left to learn from")
        flag("scaled_by_root", self.scaled_by_root)

    @property
    def scale(self) -> float:
        """What the product of its matrices is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.scaled_by_root else self.rank)


def find_targets(config: ModelConfig, targets: Sequence[str]) -> dict[str, Place]:
    """The layers that these names match as in PEFT, whole or behind a dot: names in the checkpoint, and their places.

    Raises SettingError for a target that matches none.
    """
    linear = {}
    for name, place in tensors_of(config, names=folder_names(config)).items():
        stem, _, kind = name.rpartition(".")
        if kind == "weight" and place.parameter.startswith("layers.") and "norm" not in place.parameter:
            linear[stem] = place
    found = {stem: place for stem, place in linear.items() if any(_matches(stem, target) for target in targets)}
    for target in targets:
        if not any(_matches(stem, target) for stem in found):
            known = ", ".join(dict.fromkeys(stem.rpartition(".")[2] for stem in linear))
            raise SettingError(f"no linear layer of this model is called {quoted(target)}: use some of {known}")
    return found


def _matches(stem: str, target: str) -> bool:
    return stem == target or stem.endswith(f".{target}")
