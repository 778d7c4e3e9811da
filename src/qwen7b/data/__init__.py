"""Raw text → clean token shards: documents in, mapped files of token ids out, and the order in which they are read.

The room knows no model and no training.
"""
