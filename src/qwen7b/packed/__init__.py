"""The same model in 8 or 4 bits: float weights in, packed weights out, and the layers and cache that compute with them.

The room knows how weights are rounded, which matrix of a model gets which codes, and the native kernels; it knows no
checkpoint and no text.
"""
