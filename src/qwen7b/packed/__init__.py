"""The same model in 8 or 4 bits: float weights in, packed weights out, and the layers and cache that compute with them.

Knows how weights are rounded, which matrix of a model gets which codes, and the native kernels; knows no checkpoint and
no text.
"""
