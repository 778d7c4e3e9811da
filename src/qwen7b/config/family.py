"""The families of models that run here, by the names that config.json and GGUF have for them."""

from __future__ import annotations

from enum import StrEnum


class Family(StrEnum):
    """A kind of model: its conventions say how files name and lay out tensors, and what they leave unsaid."""

    QWEN = "qwen"
    """First-generation Qwen."""
    QWEN2 = "qwen2"
    """Qwen1.5, Qwen2 and Qwen2.5, the dense ones."""
    LLAMA = "llama"
    """Models of Llama's shape, such as SmolLM2."""
