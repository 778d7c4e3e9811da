"""What a checkpoint contains: a path in; out go config, generation settings, and tensors by their places in our model.

Knows each family's names for sizes and tensors, and the layout of packed folders; fills no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint
    from qwen7b.checkpoint.generation_settings import GenerationSettings

__all__ = [
    "Checkpoint",
    "GenerationSettings",
    "open_checkpoint",
]

_MODULES = {
    "Checkpoint": "checkpoint",
    "GenerationSettings": "generation_settings",
    "open_checkpoint": "checkpoint",
}
__getattr__ = imported_when_used(__name__, _MODULES)
