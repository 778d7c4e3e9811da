"""Pairs of texts of a known Jaccard similarity of their 5-grams, for tests and the benchmark."""

from __future__ import annotations

from random import Random

from qwen7b.data.shingles import WordNumbers, hash_ngrams, number_words


def planted_pair(similarity: float, random: Random, *, words: int = 300) -> tuple[str, str]:
    """Two texts of random words whose similarity is at least, and nearly, the given one."""
    first = [word(random.randrange(50_000)) for _ in range(words)]
    # What is replaced at the end of a text differs in as many n-grams as words, so that the similarity is exact.
    total = words - 4
    shared = -(-2 * total * similarity // (1 + similarity))
    keep = int(shared) + 4
    second = first[:keep] + [word(random.randrange(50_000, 100_000)) for _ in range(words - keep)]
    return " ".join(first), " ".join(second)


def word(number: int) -> str:
    """A word of letters, as numbers count as equal."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def jaccard(first: str, second: str, n: int = 5) -> float:
    """The similarity of two texts, by the plain definition."""
    one, other = (set(hash_ngrams(number_words([text], WordNumbers()), n).numbers.tolist()) for text in (first, second))
    return len(one & other) / len(one | other)
