"""Settings of sampling, checked where they are made."""

from __future__ import annotations

import math

import pytest

from qwen7b.errors import SettingError
from qwen7b.sampling.sampling import Greedy, Sample

SHARED: list[dict[str, object]] = [
    {"repetition_penalty": 0.0},
    {"presence_penalty": 2.1},
    {"presence_penalty": math.nan},
    {"frequency_penalty": -2.5},
    {"frequency_penalty": "1"},
    {"frequency_penalty": True},
    {"logit_bias": {1: math.inf}},
    {"logit_bias": {"1": 1.0}},
    {"logit_bias": {-1: 1.0}},
    {"logit_bias": [1]},
]


@pytest.mark.parametrize("settings", SHARED)
@pytest.mark.parametrize("kind", [Greedy, Sample])
def test_settings_of_every_choice_out_of_range_are_refused(kind: type, settings: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        kind(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0},
        {"temperature": math.nan},
        {"temperature": "0.7"},
        {"top_k": -1},
        {"top_k": 1.5},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"seed": -1},
        {"seed": True},
    ],
)
def test_settings_of_a_random_choice_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        Sample(**settings)  # type: ignore[arg-type]


def test_penalties_may_be_as_large_as_their_range() -> None:
    for penalty in (-2, -2.0, 0, 2.0, 2):
        assert Greedy(presence_penalty=penalty, frequency_penalty=penalty).presence_penalty == penalty
