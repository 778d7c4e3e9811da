"""A model's settings: in come plain values, out goes a ModelConfig whose every value has been checked.

Knows nothing of the files that settings come from, and needs no torch. `checked` and `fields` hold the checks that
settings of every kind share.
"""

from qwen7b.config.family import Family
from qwen7b.config.model_config import ModelConfig

__all__ = ["Family", "ModelConfig"]
