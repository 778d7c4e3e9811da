"""What a checkpoint says: a path in; out go its config, its tensors by their places in our model, and how it generates.

Knows every family's words for sizes and names, and how packed folders are laid out; reads no weights yet, and fills no
model.
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
