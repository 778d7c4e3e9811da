"""A checkpoint in, a filled model out: in floats, packed, or with its weights left on the disk. Loads tokenizers too.

Chooses device, dtype and weight format where the user does not. Generates no text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.loading.loading import load_model
    from qwen7b.loading.named_tokenizer import load_tokenizer

__all__ = [
    "load_model",
    "load_tokenizer",
]

__getattr__ = imported_when_used(__name__, {"load_model": "loading", "load_tokenizer": "named_tokenizer"})
