"""Models that also see or hear: Qwen-VL and Qwen-Audio call themselves "qwen" too, and would load without that half."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qwen7b.errors import UnsupportedError

# What config.json has of such a model; its tensors begin with the first of them.
_SENSES = (
    ("Qwen-VL or a model like it", "sees", ("visual", "vision_config", "mm_vision_tower", "vision_tower")),
    ("Qwen-Audio or a model like it", "hears", ("audio", "audio_config", "speech_config")),
)


def refuse_other_senses(fields: Mapping[str, Any], tensors: Iterable[str] = (), *, source: str) -> None:
    """Raise UnsupportedError where a config's fields, or names of tensors, are of a model that sees or hears."""
    for model, does, names in _SENSES:
        found = [f"field {name!r}" for name in names if fields.get(name)]
        part = f"transformer.{names[0]}."
        found += [f"tensor {name!r:.100}" for name in tensors if name.startswith(part)]
        if found:
            raise UnsupportedError(
                f"{source} is of {model}, as its {found[0]} says, which also {does}, and qwen7b computes text alone: "
                "give a text model, such as Qwen/Qwen-7B-Chat"
            )
