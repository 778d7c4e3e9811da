"""Models that also see or hear: Qwen-VL and Qwen-Audio have model_type "qwen" too, and would load without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qwen7b.errors import UnsupportedError

# The fields of such a model in config.json; the first one also begins the names of its tensors.
_SENSES = (
    ("Qwen-VL or a model like it", "sees", ("visual", "vision_config", "mm_vision_tower", "vision_tower")),
    ("Qwen-Audio or a model like it", "hears", ("audio", "audio_config", "speech_config")),
)


def refuse_other_senses(fields: Mapping[str, Any], tensors: Iterable[str] = (), *, source: str) -> None:
    """Raise UnsupportedError where a config's fields, or names of tensors, are of a model that sees or hears."""
    for model, sense, names in _SENSES:
        evidence = [f"field {name!r}" for name in names if fields.get(name)]
        prefix = f"transformer.{names[0]}."
        evidence += [f"tensor {name!r:.100}" for name in tensors if name.startswith(prefix)]
        if evidence:
            raise UnsupportedError(
                f"{source} is of {model}, which also {sense}, as its {evidence[0]} shows, but qwen7b runs text "
                "models only: give a text model, such as Qwen/Qwen-7B-Chat"
            )
