"""The patterns that cut text into pieces before byte pairs merge; no token ever spans two pieces."""

from __future__ import annotations

from collections.abc import Iterable

# First-generation Qwen; tokenizer.json files of Qwen1.5 to Qwen2.5 carry the same. Digits stand alone.
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The tokenizers library's ByteLevel.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Its Digits(individual_digits) followed by ByteLevel, in one step: a piece may end before a digit as it does before
# the end of the text, so white space in front of a digit stays whole.
SMOLLM = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"

_MAX_MISFITS = 0.02  # in Qwen's own vocabulary the pattern cuts 1 % of the tokens, mostly Thai ones


def fits(pattern: str, tokens: Iterable[bytes]) -> bool:
    """Tell whether a vocabulary may have been trained with a pattern: then the pattern cuts hardly any token in two."""
    import regex

    first_piece = regex.compile(pattern)
    count = misfits = 0
    for token in tokens:
        try:
            text = token.decode()
        except UnicodeDecodeError:  # a part of a character
            continue
        count += 1
        piece = first_piece.match(text)
        misfits += piece is None or piece.end() < len(text)
    return misfits <= _MAX_MISFITS * count
