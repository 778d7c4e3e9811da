"""How a token is chosen."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.generate.picking import adjust_logits, narrow, pick
from qwen7b.generate.sampling import Greedy, Sample, Sampling

LOGITS = torch.tensor([0.1, 3.0, -1.0, 2.0, 2.5])


def choose(logits: torch.Tensor, sampling: Sampling, *, seen: tuple[int, ...] = (), seed: int = 0) -> int:
    return pick(logits, sampling, seen_ids=seen, generator=torch.Generator().manual_seed(seed))


def test_greedy_takes_the_likeliest() -> None:
    assert choose(LOGITS, Greedy()) == 1


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    adjusted = adjust_logits(LOGITS, Greedy(repetition_penalty=2.0), seen_ids=[1, 2, 1])
    torch.testing.assert_close(adjusted, torch.tensor([0.1, 1.5, -2.0, 2.0, 2.5]))
    assert LOGITS[1] == 3.0
    assert choose(LOGITS, Greedy(repetition_penalty=2.0), seen=(1,)) == 4


def test_logit_bias_adds_and_forbids() -> None:
    assert choose(LOGITS, Greedy(logit_bias={0: 5.0})) == 0
    assert choose(LOGITS, Greedy(logit_bias={1: -math.inf})) == 4
    with pytest.raises(SettingError, match="token id 5, but ids go from 0 to 4"):
        choose(LOGITS, Greedy(logit_bias={5: 1.0}))


def test_temperature_divides_logits() -> None:
    torch.testing.assert_close(narrow(LOGITS, Sample(temperature=2.0)), torch.softmax(LOGITS / 2, dim=-1))


def kept(sampling: Sample) -> set[int]:
    return set(narrow(LOGITS, sampling).nonzero().flatten().tolist())


def test_top_k_top_p_and_min_p_keep_what_they_say() -> None:
    probs = torch.softmax(LOGITS, dim=-1)
    assert kept(Sample()) == {0, 1, 2, 3, 4}
    assert kept(Sample(top_k=2)) == {1, 4}
    assert kept(Sample(top_p=float(probs[1]) - 0.01)) == {1}
    assert kept(Sample(top_p=float(probs[1]) + 0.01)) == {1, 4}
    assert kept(Sample(top_p=1e-9)) == {1}
    assert kept(Sample(min_p=float(probs[3] / probs[1]) - 0.01)) == {1, 3, 4}
    assert kept(Sample(min_p=1.0)) == {1}
    assert kept(Sample(top_k=3, top_p=0.5)) == {1}


@settings(max_examples=50, deadline=None)
@given(
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 12),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_narrowed_distribution_is_one_and_keeps_the_likeliest(
    temperature: float, top_k: int, top_p: float, min_p: float, seed: int
) -> None:
    logits = torch.randn(10, generator=torch.Generator().manual_seed(seed)) * 4
    probs = narrow(logits, Sample(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p))
    assert abs(float(probs.sum()) - 1) < 1e-5
    assert probs.argmax() == logits.argmax()
    if top_k:
        assert (probs > 0).sum() <= top_k


def test_samples_follow_the_distribution() -> None:
    generator = torch.Generator().manual_seed(3)
    draws = [pick(LOGITS, Sample(), seen_ids=(), generator=generator) for _ in range(4000)]
    found = torch.bincount(torch.tensor(draws), minlength=5) / len(draws)
    torch.testing.assert_close(found, torch.softmax(LOGITS, dim=-1), atol=0.03, rtol=0)


def test_seed_repeats_a_draw() -> None:
    flat = torch.zeros(1000)
    assert choose(flat, Sample(), seed=5) == choose(flat, Sample(), seed=5)
    assert len({choose(flat, Sample(), seed=seed) for seed in range(20)}) > 10


@pytest.mark.parametrize("extreme", [{"temperature": 1e-300}, {"top_p": 1e-300}, {"temperature": 1e300, "top_p": 1e-9}])
def test_extreme_settings_still_choose(extreme: dict[str, float]) -> None:
    assert choose(LOGITS, Sample(**extreme)) in range(5)  # type: ignore[arg-type]
    if extreme.get("temperature", 1) < 1:
        assert choose(LOGITS, Sample(**extreme)) == 1  # type: ignore[arg-type]


def test_settings_that_leave_no_token_are_named() -> None:
    with pytest.raises(SettingError, match="leave no token to choose"):
        choose(LOGITS, Greedy(logit_bias=dict.fromkeys(range(5), -math.inf)))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_numbers_are_named(value: float) -> None:
    with pytest.raises(UnsupportedError, match="not finite"):
        choose(torch.tensor([1.0, value]), Greedy())


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"seed": -1},
        {"repetition_penalty": 0.0},
        {"logit_bias": {1: math.inf}},
        {"logit_bias": {"1": 1.0}},
        {"logit_bias": [1]},
        {"temperature": "0.7"},
        {"top_k": 1.5},
        {"seed": True},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        Sample(**settings)  # type: ignore[arg-type]
