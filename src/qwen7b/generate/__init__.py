"""Logits in, replies out: the engine, speculation, stopping, and `Qwen`, which ties a model to its tokenizer.

The engine (`engine.py`) knows token ids and no text; `Qwen` knows no file format. Settings and replies need no torch:
the modules that compute are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.generate.reply import Piece, Reply, Score, Usage
from qwen7b.sampling.sampling import Greedy, Sample, Sampling
from qwen7b.sampling.token_logprob import TokenLogprob
from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.generate.engine import Engine
    from qwen7b.generate.loader import load
    from qwen7b.generate.qwen import Qwen
    from qwen7b.generate.request import Request
    from qwen7b.generate.request_state import Token

__all__ = [
    "Engine",
    "Greedy",
    "Piece",
    "Qwen",
    "Reply",
    "Request",
    "Sample",
    "Sampling",
    "Score",
    "Token",
    "TokenLogprob",
    "Usage",
    "load",
]

__getattr__ = imported_when_used(
    __name__,
    {
        "Engine": "engine",
        "Qwen": "qwen",
        "Request": "request",
        "Token": "request_state",
        "load": "loader",
    },
)
