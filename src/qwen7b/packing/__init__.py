"""A checkpoint in, packed tensors out, kept on the disk for the next start; and what is kept there, listed and removed.

Knows which weights count most to a text, and where everything kept lies; how codes are laid out is `packed`'s.
"""
