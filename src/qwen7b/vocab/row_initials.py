"""The names of what the rows of new tokens are made of; a list that the command line has without torch."""

from __future__ import annotations

from enum import StrEnum


class Initial(StrEnum):
    """What the row of a new token is made of."""

    MEAN_NORM = "mean-norm"
    """The mean of the rows of its parts, made as long as these are on average: the mean of several is shorter."""
    MEAN = "mean"
    """The mean of the rows of its parts. https://nlp.stanford.edu/~johnhew/vocab-expansion.html"""
    RANDOM = "random"
    """A draw for each number from the normal distribution that its column has over all tokens."""
    ZERO = "zero"
