"""A ModelConfig as JSON, with qwen7b's own field names, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from qwen7b.config import ModelConfig
from qwen7b.config.rotary_scaling import DynamicNtk, LinearInterpolation, Yarn

_SCALINGS = {"ntk": DynamicNtk, "linear": LinearInterpolation, "yarn": Yarn}


def config_fields(config: ModelConfig) -> dict[str, Any]:
    """A config as JSON values."""
    fields = {**asdict(config), "family": config.family.value}
    for name, kind in _SCALINGS.items():
        if isinstance(config.rotary_scaling, kind):
            fields["rotary_scaling"] = {"kind": name, **fields["rotary_scaling"]}
    if config.attention_windows is not None:
        fields["attention_windows"] = list(config.attention_windows)
    return fields


def config_from(fields: Mapping[str, Any]) -> ModelConfig:
    """The config that `config_fields` wrote. Raises KeyError, TypeError or ValueError for other fields."""
    fields = dict(fields)
    if (scaling := fields["rotary_scaling"]) is not None:
        settings = dict(scaling)
        fields["rotary_scaling"] = _SCALINGS[settings.pop("kind")](**settings)
    if (windows := fields["attention_windows"]) is not None:
        fields["attention_windows"] = tuple(windows)
    return ModelConfig(**fields)
