"""How tokens are picked: all rows at once as each alone, and as one row was picked before."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.sampling.picking import SamplingState, adjust_logits, log_probabilities, narrow, pick
from qwen7b.sampling.sampling import Greedy, Sample, Sampling

LOGITS = torch.tensor([0.1, 3.0, -1.0, 2.0, 2.5])
VOCAB_SIZE = 151_936


def state(*, prompt: Sequence[int] = (), reply: Sequence[int] = (), seed: int = 0) -> SamplingState:
    made = SamplingState(prompt, Sample(seed=seed))
    for token_id in reply:
        made.add(token_id)
    return made


def choose(logits_V: Tensor, sampling: Sampling, **of_state: object) -> int:
    return pick(logits_V[None], sampling, [state(**of_state)])[0]  # type: ignore[arg-type]


def probabilities(logits_V: Tensor, sampling: Sample) -> Tensor:
    """Those of all tokens, (V,), where what is cut has 0."""
    candidates = narrow(logits_V[None], sampling)
    weights_K = candidates.weights_BK[0]
    if candidates.ids_BK is not None:
        weights_K = torch.zeros(len(logits_V)).scatter(0, candidates.ids_BK[0], weights_K)
    return weights_K / weights_K.sum()


def adjusted(logits_V: Tensor, sampling: Sampling, **of_state: object) -> Tensor:
    return adjust_logits(logits_V[None], sampling, [state(**of_state)])[0]  # type: ignore[arg-type]


def naive_pick(logits_V: Tensor, sampling: Sampling, state: SamplingState) -> int:
    """One row's pick, said plainly: every step over the whole vocabulary, which is sorted."""
    logits_V = logits_V.clone()
    for token_id in sorted(state.seen_ids):
        value, penalty = logits_V[token_id], sampling.repetition_penalty
        logits_V[token_id] = value / penalty if value > 0 else value * penalty
    for token_id, count in state.reply_counts.items():
        logits_V[token_id] -= sampling.presence_penalty + sampling.frequency_penalty * count
    for token_id, bias in sampling.logit_bias.items():
        logits_V[token_id] += bias
    if isinstance(sampling, Greedy):
        return int(logits_V.argmax())
    probs_V = torch.softmax((logits_V - logits_V.max()).double() / sampling.temperature, dim=-1).float()
    if 0 < sampling.top_k < len(probs_V):
        top = probs_V.topk(sampling.top_k)
        probs_V = torch.zeros_like(probs_V).scatter(0, top.indices, top.values)
        probs_V /= probs_V.sum()
    if sampling.top_p < 1:
        ordered, order = probs_V.sort(descending=True, stable=True)
        kept = ordered.cumsum(0) - ordered < sampling.top_p
        kept[0] = True
        probs_V = torch.zeros_like(probs_V).scatter(0, order, ordered.where(kept, 0.0))
    if sampling.min_p > 0:
        probs_V = probs_V.where(probs_V >= sampling.min_p * probs_V.max(), 0.0)
    return int(torch.multinomial(probs_V / probs_V.sum(), 1, generator=state.generator))


SAMPLINGS: list[Sampling] = [
    Greedy(),
    Greedy(repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=-0.7, logit_bias={3: 1.5, 0: -math.inf}),
    Sample(),
    Sample(temperature=0.3),
    Sample(top_k=20),
    Sample(top_k=3000, top_p=0.9),
    Sample(top_p=0.8),
    Sample(temperature=4.0, top_p=0.95),
    Sample(min_p=0.05),
    Sample(temperature=0.7, top_k=20, top_p=0.8, min_p=0.01, repetition_penalty=1.05),
    Sample(top_p=0.8, repetition_penalty=1.1, presence_penalty=1.0, frequency_penalty=0.2, logit_bias={7: 2.0}),
]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_rows_are_picked_as_each_alone_and_as_the_plain_reference_does(sampling: Sampling) -> None:
    generator = torch.Generator().manual_seed(1)
    num_rows, num_steps = 3, 4
    # As of a model: some rows sharp, some flat; columns past the vocabulary are cut off, so rows do not lie together.
    scales_B1 = torch.tensor([[4.0], [2.0], [0.5]])

    def states() -> list[SamplingState]:
        return [state(prompt=[3, 5, 3 + row], seed=row) for row in range(num_rows)]

    together, alone, naive = states(), states(), states()
    for _ in range(num_steps):
        logits_BV = (torch.randn(num_rows, VOCAB_SIZE, generator=generator) * scales_B1)[:, : VOCAB_SIZE - 85]
        before = logits_BV.clone()
        picked = pick(logits_BV, sampling, together)
        assert picked == [pick(row, sampling, [one])[0] for row, one in zip(logits_BV.split(1), alone, strict=True)]
        assert picked == [naive_pick(row, sampling, one) for row, one in zip(logits_BV, naive, strict=True)]
        assert logits_BV.equal(before)
        for of_rows in (together, alone, naive):
            for row_state, token_id in zip(of_rows, picked, strict=True):
                row_state.add(token_id)
    generators = [[one.generator.get_state() for one in of_rows] for of_rows in (together, alone, naive)]
    assert all(a.equal(b) and a.equal(c) for a, b, c in zip(*generators, strict=True))


@settings(max_examples=150, deadline=None)
@given(
    num_rows=st.integers(1, 5),
    vocab_size=st.integers(9, 1500),
    scale=st.floats(0.01, 30),
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 40),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
    repetition_penalty=st.floats(0.5, 2),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    seed=st.integers(0, 999),
)
def test_any_settings_pick_as_the_plain_reference_does(
    num_rows: int, vocab_size: int, scale: float, seed: int, **fields: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits_BV = torch.randn(num_rows, vocab_size, generator=generator) * scale
    sampling = Sample(**fields)  # type: ignore[arg-type]

    def states() -> list[SamplingState]:
        return [state(prompt=[1, 2, row], reply=[2, 8, 8, row], seed=seed + row) for row in range(num_rows)]

    expected = [naive_pick(row, sampling, one) for row, one in zip(logits_BV, states(), strict=True)]
    assert pick(logits_BV, sampling, states()) == expected


@pytest.mark.parametrize("sampling", [Greedy(), Sample(top_p=0.6), Sample(top_k=20, top_p=0.8), Sample(top_k=3)])
def test_rows_with_equally_likely_tokens_are_picked_as_each_alone(sampling: Sampling) -> None:
    generator = torch.Generator().manual_seed(2)
    for seed in range(10):
        logits_BV = (torch.randn(4, 5000, generator=generator) * 3 + 8).bfloat16().float()
        assert all(len(row.topk(20).values.unique()) < 20 for row in logits_BV)
        together = pick(logits_BV[:, :4900], sampling, [state(seed=seed + row) for row in range(4)])
        alone = [choose(row[:4900], sampling, seed=seed + index) for index, row in enumerate(logits_BV)]
        assert together == alone


def test_rows_have_random_numbers_of_their_own() -> None:
    flat_BV = torch.zeros(4, 1000)
    same, others = [state(seed=5) for _ in range(4)], [state(seed=seed) for seed in range(4)]
    assert len(set(pick(flat_BV, Sample(), same))) == 1
    assert len(set(pick(flat_BV, Sample(), others))) > 1


def test_greedy_takes_the_likeliest() -> None:
    assert choose(LOGITS, Greedy()) == 1
    assert pick(torch.stack([LOGITS, -LOGITS]), Greedy(), [state(), state()]) == [1, 2]


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    penalized = adjusted(LOGITS, Greedy(repetition_penalty=2.0), prompt=[1, 2, 1])
    torch.testing.assert_close(penalized, torch.tensor([0.1, 1.5, -2.0, 2.0, 2.5]))
    assert LOGITS[1] == 3.0
    assert choose(LOGITS, Greedy(repetition_penalty=2.0), prompt=[1]) == 4
    assert choose(LOGITS, Greedy(repetition_penalty=2.0), reply=[1]) == 4


def test_presence_and_frequency_penalties_count_the_reply_only() -> None:
    tokens = {"prompt": [0, 1, 1], "reply": [3, 3, 4]}
    presence = adjusted(LOGITS, Greedy(presence_penalty=0.5), **tokens)
    torch.testing.assert_close(presence, torch.tensor([0.1, 3.0, -1.0, 1.5, 2.0]))
    frequency = adjusted(LOGITS, Greedy(frequency_penalty=0.5), **tokens)
    torch.testing.assert_close(frequency, torch.tensor([0.1, 3.0, -1.0, 1.0, 2.0]))
    both = adjusted(LOGITS, Sample(presence_penalty=-1.0, frequency_penalty=2.0), **tokens)
    torch.testing.assert_close(both, torch.tensor([0.1, 3.0, -1.0, -1.0, 1.5]))
    assert adjusted(LOGITS, Greedy(presence_penalty=2.0, frequency_penalty=2.0), prompt=[1]).equal(LOGITS)


def test_each_row_is_penalized_for_its_own_tokens() -> None:
    logits_BV = LOGITS.expand(2, -1)
    rows = [state(prompt=[0], reply=[1, 1]), state(reply=[4])]
    sampling = Greedy(repetition_penalty=2.0, presence_penalty=1.0, frequency_penalty=0.25)
    expected_BV = torch.tensor([[0.05, 0.0, -1.0, 2.0, 2.5], [0.1, 3.0, -1.0, 2.0, 0.0]])
    torch.testing.assert_close(adjust_logits(logits_BV, sampling, rows), expected_BV)


def test_logit_bias_adds_and_forbids() -> None:
    assert choose(LOGITS, Greedy(logit_bias={0: 5.0})) == 0
    assert choose(LOGITS, Greedy(logit_bias={1: -math.inf})) == 4
    with pytest.raises(SettingError, match="token id 5, but ids go from 0 to 4"):
        choose(LOGITS, Greedy(logit_bias={5: 1.0}))


def test_temperature_divides_logits() -> None:
    torch.testing.assert_close(probabilities(LOGITS, Sample(temperature=2.0)), torch.softmax(LOGITS / 2, dim=-1))


def kept(sampling: Sample) -> set[int]:
    return set(probabilities(LOGITS, sampling).nonzero().flatten().tolist())


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
def test_a_narrowed_distribution_keeps_the_likeliest(
    temperature: float, top_k: int, top_p: float, min_p: float, seed: int
) -> None:
    logits = torch.randn(10, generator=torch.Generator().manual_seed(seed)) * 4
    probs = probabilities(logits, Sample(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p))
    assert probs.argmax() == logits.argmax()
    if top_k:
        assert (probs > 0).sum() <= top_k


@pytest.mark.parametrize("sampling", [Sample(), Sample(top_k=4, top_p=0.9)])
def test_samples_follow_the_distribution(sampling: Sample) -> None:
    one = state(seed=3)
    draws = [pick(LOGITS[None], sampling, [one])[0] for _ in range(4000)]
    actual = torch.bincount(torch.tensor(draws), minlength=5) / len(draws)
    torch.testing.assert_close(actual, probabilities(LOGITS, sampling), atol=0.03, rtol=0)


def test_seed_repeats_a_draw() -> None:
    flat = torch.zeros(1000)
    assert choose(flat, Sample(), seed=5) == choose(flat, Sample(), seed=5)
    assert len({choose(flat, Sample(), seed=seed) for seed in range(20)}) > 10


def test_without_a_seed_draws_differ() -> None:
    flat_BV = torch.zeros(1, 100_000)
    assert len({pick(flat_BV, Sample(), [SamplingState([], Sample())])[0] for _ in range(20)}) > 10


@pytest.mark.parametrize("extreme", [{"temperature": 1e-300}, {"top_p": 1e-300}, {"temperature": 1e300, "top_p": 1e-9}])
def test_extreme_settings_still_choose(extreme: dict[str, float]) -> None:
    assert choose(LOGITS, Sample(**extreme)) in range(5)  # type: ignore[arg-type]
    if extreme.get("temperature", 1) < 1:
        assert choose(LOGITS, Sample(**extreme)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("sampling", [Greedy, Sample])
def test_forbidden_tokens_are_never_drawn(sampling: type) -> None:
    forbidden = dict.fromkeys([0, 1, 2, 4], -math.inf)
    for settings_of_chance in ({}, {"temperature": 1e300}, {"top_k": 4}, {"top_p": 0.99}):
        given = settings_of_chance if sampling is Sample else {}
        assert choose(LOGITS, sampling(logit_bias=forbidden, **given)) == 3


def test_settings_that_leave_no_token_are_named() -> None:
    with pytest.raises(SettingError, match="penalties and logit_bias leave no token to choose"):
        choose(LOGITS, Greedy(logit_bias=dict.fromkeys(range(5), -math.inf)))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("sampling", [Greedy(), Sample(top_p=0.5)])
def test_logits_that_are_not_numbers_are_named_in_any_row(value: float, sampling: Sampling) -> None:
    with pytest.raises(UnsupportedError, match="not finite"):
        pick(torch.tensor([[1.0, 2.0], [1.0, value]]), sampling, [state(), state()])


def test_log_probabilities_of_rows_are_each_row_s_own() -> None:
    logits_BV = torch.randn(4, 700, generator=torch.Generator().manual_seed(0))
    ids = [3, 0, 699, 3]
    together = log_probabilities(logits_BV, ids, num_top=2)
    assert together == [
        log_probabilities(row, [token_id], num_top=2)[0] for row, token_id in zip(logits_BV.split(1), ids, strict=True)
    ]
    for entry, logits_V in zip(together, logits_BV, strict=True):
        logprobs_V = logits_V.double().log_softmax(-1)
        assert entry.logprob == pytest.approx(float(logprobs_V[entry.token_id]), abs=1e-5)
        assert [token_id for token_id, _ in entry.top] == logits_V.argsort(descending=True)[:2].tolist()
        assert [value for _, value in entry.top] == pytest.approx(logprobs_V.topk(2).values.tolist(), abs=1e-5)
    assert [entry.token_id for entry in together] == ids
    assert [entry.top for entry in log_probabilities(logits_BV, ids, num_top=0)] == [()] * 4


def test_log_probabilities_among_many_tokens_are_exact_to_a_float() -> None:
    logits_BV = 4 * torch.randn(2, 150_000, generator=torch.Generator().manual_seed(0))
    for entry, logits_V in zip(log_probabilities(logits_BV, [5, 149_999], num_top=1), logits_BV, strict=True):
        expected_V = logits_V.double().log_softmax(-1)
        assert entry.logprob == pytest.approx(float(expected_V[entry.token_id]), abs=5e-6)
        assert entry.top[0][1] == pytest.approx(float(expected_V.max()), abs=5e-6)
