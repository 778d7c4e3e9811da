"""ROUGE-L: how alike two texts are, by their longest common subsequence (Lin 2004)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def printed_words(tokens: Iterable[bytes]) -> list[str]:
    """The words that the original compares: tokens are printed with a space between two, and split at all blanks.

    So tokens that are only blanks vanish, and a space at a token's beginning does not count.

    >>> printed_words([b'{"', b' a', b"  ", b"\\xe4\\xbd"])
    ['{"', 'a', '\ufffd']
    """
    return " ".join(token.decode("utf-8", "replace") for token in tokens).split()


def rouge_l(words: Sequence[str], reference: Sequence[str]) -> float:
    """The F-measure of what both have in common, from 0 to 1.

    >>> rouge_l(["a", "x", "b"], ["a", "b", "c"])
    0.6666666666666666
    """
    lengths = [0] * (len(reference) + 1)  # of the longest subsequence of the words so far and each beginning
    for word in words:
        before = 0
        for place, other in enumerate(reference, start=1):
            above = lengths[place]
            lengths[place] = before + 1 if word == other else max(above, lengths[place - 1])
            before = above
    if not lengths[-1]:
        return 0.0
    precision, recall = lengths[-1] / len(words), lengths[-1] / len(reference)
    return 2 * precision * recall / (precision + recall)
