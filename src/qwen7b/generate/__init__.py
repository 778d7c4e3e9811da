"""Logits in, replies out: sampling, stopping, the engine, and `Qwen`, which ties a model to its tokenizer.

The engine (`engine.py`) knows token ids and no text; `Qwen` knows no file format.
"""

from qwen7b.importing import quick_imports

with quick_imports():  # torch comes with these
    from qwen7b.generate.engine import Batch, Token
    from qwen7b.generate.qwen import Qwen, load
    from qwen7b.generate.reply import Piece, Reply, TokenLogprob, Usage
    from qwen7b.generate.sampling import Greedy, Sample, Sampling

__all__ = [
    "Batch",
    "Greedy",
    "Piece",
    "Qwen",
    "Reply",
    "Sample",
    "Sampling",
    "Token",
    "TokenLogprob",
    "Usage",
    "load",
]
