"""The families of models that run here, by the names that config.json and GGUF have for them."""

from __future__ import annotations

from enum import StrEnum


class Family(StrEnum):
    """A kind of model: its conventions say how files name and lay out tensors, and which settings they leave out."""

    QWEN = "qwen"
    """First-generation Qwen."""
    QWEN2 = "qwen2"
    """The dense models of Qwen1.5, Qwen2 and Qwen2.5."""
    LLAMA = "llama"
    """Models of Llama's shape, such as SmolLM2."""
