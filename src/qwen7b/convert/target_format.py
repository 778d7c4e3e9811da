"""The names of what a conversion can write; without torch, so that the command line can list them quickly."""

from __future__ import annotations

from enum import StrEnum


class TargetFormat(StrEnum):
    """A format that a model can be written in."""

    QWEN = "qwen"
    """A folder as first-generation Qwen has it."""
    QWEN2 = "qwen2"
    """A folder as Qwen2 has it."""
    GGUF = "gguf"
    """One file, for llama.cpp."""


class FewerBits(StrEnum):
    """The number types of fewer than 32 bits that a GGUF file can get; the gguf package quantizes to them."""

    Q8_0 = "q8_0"
    Q5_1 = "q5_1"
    Q5_0 = "q5_0"
    Q4_1 = "q4_1"
    Q4_0 = "q4_0"
    BF16 = "bf16"
    F16 = "f16"
