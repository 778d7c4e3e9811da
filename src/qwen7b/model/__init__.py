"""Token ids in, logits out: the readable PyTorch model and its cache. Knows no text and no file format.

Axes, in comments and as suffixes of tensors whose layout matters:

    B  batch (sequences)      H  query heads           D  head size
    T  query positions        K  key-value heads       V  vocabulary rows
    S  key positions          C  hidden size
"""

from qwen7b.model.cache import Cache
from qwen7b.model.sequence_cache import NtkMode, SequenceCache
from qwen7b.model.transformer import Transformer

__all__ = ["Cache", "NtkMode", "SequenceCache", "Transformer"]
