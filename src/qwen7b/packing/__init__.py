"""A checkpoint in, packed tensors out, cached on the disk for the next start; and what is cached, listed and removed.

Knows which weights matter most for a text, and where everything is cached; the layout of codes is in `packed`.
"""
