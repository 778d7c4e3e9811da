"""Sampling by plain keywords, as in `temperature=0.7`, which replace parts of a checkpoint's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TypedDict, Unpack

from qwen7b.config.checked import PENALTIES, is_zero
from qwen7b.errors import SettingError
from qwen7b.sampling.sampling import Greedy, Sample, Sampling


class SamplingKeywords(TypedDict, total=False):
    """The fields of `Sample` as keywords; None or absent means the checkpoint's own."""

    temperature: float | None
    """0 means greedy."""
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    seed: int | None
    logit_bias: Mapping[int, float] | None


_OFF = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
_GREEDY_FIELDS = {*PENALTIES, "logit_bias"}
SAMPLING_ONLY = SamplingKeywords.__annotations__.keys() - _GREEDY_FIELDS - {"temperature"}
"""The keywords that have no effect on a greedy choice."""


def lay_over(default: Sampling, **keywords: Unpack[SamplingKeywords]) -> Sampling:
    """Lay these keywords over the default's settings.

    Temperature 0 makes it greedy, and a keyword that only sampling uses makes a greedy default a `Sample`. Raises
    SettingError where both are given, or where a value is out of range.

    >>> lay_over(Sample(temperature=0.7, top_p=0.8), top_p=0.5) == Sample(temperature=0.7, top_p=0.5)
    True
    >>> lay_over(Sample(top_p=0.8, repetition_penalty=1.1), temperature=0) == Greedy(repetition_penalty=1.1)
    True
    """
    given = {name: value for name, value in keywords.items() if value is not None}
    settings = asdict(default) | given
    if is_greedy(keywords):
        if unused := sampling_only(keywords):
            names = ", ".join(unused)
            raise SettingError(
                f"temperature 0 leaves nothing to chance, so it cannot go with {names}: drop one or the other"
            )
    elif isinstance(default, Sample) or given.keys() - _GREEDY_FIELDS:
        return Sample(**settings)
    return Greedy(**{name: value for name, value in settings.items() if name in _GREEDY_FIELDS})


def is_greedy(keywords: SamplingKeywords) -> bool:
    return is_zero(keywords.get("temperature"))


def sampling_only(keywords: SamplingKeywords) -> list[str]:
    """Those of the keywords that have no effect on a greedy choice, without those whose value turns them off."""
    return [
        name
        for name, value in keywords.items()
        if value is not None and name in SAMPLING_ONLY and value != _OFF.get(name)
    ]
