"""A checkpoint in, packed matrices out: into memory, into a file, and from there back by mapping it.

Knows which matrix of a model gets which codes and how a packed file is laid out; how weights are rounded is quant/'s.
"""

VERSION = 3
"""Of what packed codes mean; a file of another one is never read."""
VERSION_FIELD = "qwen7b_packed"
