"""What the tensors of an adapter are, by the names that PEFT gives them; no other file knows these names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

PREFIX = "base_model.model."
CONFIG_FILE = "adapter_config.json"
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
Role = Literal["A", "B", "embedding A", "embedding B", "magnitude", "token rows", "whole"]

_FACTOR = re.compile(r"(?P<stem>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.[^.]+)?(\.weight)?")
_MAGNITUDE = re.compile(r"(?P<stem>.+)\.lora_magnitude_vector(\.[^.]+)?(\.weight)?")  # DoRA's
_TOKENS = re.compile(r"(?P<stem>.+)\.token_adapter\.trainable_tokens_delta(\.[^.]+)?")
_WHOLE = re.compile(r"(?P<stem>.+?)(\.base_layer)?(\.modules_to_save)?(\.default)?\.(?P<kind>weight|bias)")
_AXES: dict[Role, dict[int, int]] = {
    "A": {1: 1},
    "B": {0: 0},
    "embedding A": {1: 0},  # (rank, rows)
    "embedding B": {0: 1},  # (columns, rank)
    "magnitude": {0: 0},
    "token rows": {1: 1},
    "whole": {0: 0},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorRole:
    """What a tensor of an adapter is.

    stem  the name of the base's module
    kind  "weight" or "bias": what of the module it changes
    """

    stem: str
    role: Role
    kind: str = "weight"

    @property
    def axes(self) -> dict[int, int]:
        """The axes of the base's tensor that have the same size, by the axes of this one."""
        return _AXES[self.role]


def read_role(name: str) -> TensorRole | None:
    """What the tensor of this name is; None where PEFT has no such name."""
    name = name.removeprefix(PREFIX)
    if factor := _FACTOR.fullmatch(name):
        before = "embedding " if factor["embedding"] else ""
        return TensorRole(stem=factor["stem"], role=f"{before}{factor['side']}")  # type: ignore[arg-type]
    if magnitude := _MAGNITUDE.fullmatch(name):
        return TensorRole(stem=magnitude["stem"], role="magnitude")
    if tokens := _TOKENS.fullmatch(name):
        return TensorRole(stem=tokens["stem"], role="token rows")
    if whole := _WHOLE.fullmatch(name):
        return TensorRole(stem=whole["stem"], role="whole", kind=whole["kind"])
    return None


def factor_names(stem: str) -> tuple[str, str]:
    """The names of a layer's two matrices, A (rank, columns) and B (rows, rank)."""
    return f"{PREFIX}{stem}.lora_A.weight", f"{PREFIX}{stem}.lora_B.weight"


def token_rows_name(stem: str) -> str:
    """The name of the rows of a module that are trained as a whole."""
    return f"{PREFIX}{stem}.token_adapter.trainable_tokens_delta"
