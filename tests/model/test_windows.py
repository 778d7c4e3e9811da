"""Attention windows: each layer sees its own, old positions make room for new, and no cut of a sequence matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny
from qwen7b import kernels
from qwen7b.errors import SettingError
from qwen7b.model import Transformer, sequence_cache
from qwen7b.model.layers import run_layers
from qwen7b.packed.packed_cache import PackedCacheFactory
from random_packed import random_model

ROWS, TRAINED = 97, 16
needs_library = pytest.mark.skipif(kernels.instruction_set() is None, reason="needs the native library")
same_function = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


def make_model(windows: tuple[int, ...], **changes: Any) -> Transformer:
    return tiny.model(num_layers=len(windows), attention_windows=windows, **changes)


MODEL = make_model((5, 12, 0))


def ids_of(length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(ROWS, (1, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def short_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes of at most 7 tokens, so that rings wind around in short sequences too."""
    monkeypatch.setattr(sequence_cache, "MAX_PASS_TOKENS", 7)
    monkeypatch.setattr(sequence_cache, "CHUNK", 4)


@torch.inference_mode()
def test_a_query_sees_its_window_and_no_more() -> None:
    one_layer = make_model((5,), rotary_scaling=None, logn=False)
    ids = ids_of(20)
    changed = ids.clone()
    changed[0, :15] = (changed[0, :15] + 1) % ROWS
    torch.testing.assert_close(one_layer(ids)[:, 19], one_layer(changed)[:, 19])
    changed[0, 15] = (changed[0, 15] + 1) % ROWS
    assert not torch.allclose(one_layer(ids)[:, 19], one_layer(changed)[:, 19], atol=1e-3)


@torch.inference_mode()
def test_windows_as_long_as_the_sequence_change_nothing() -> None:
    ids = ids_of(30)
    assert torch.equal(make_model((30, 30, 40))(ids), make_model((0, 0, 0))(ids))


@same_function
@given(cuts=st.lists(st.integers(1, 30), min_size=1, max_size=6))
@torch.inference_mode()
def test_any_chunking_equals_one_pass(short_passes: None, cuts: list[int]) -> None:
    ids = ids_of(sum(cuts))
    kept = MODEL.new_cache(max_length=sum(cuts))
    done = 0
    for cut in cuts:
        logits = MODEL(ids[:, done : done + cut], cache=kept)
        done += cut
        torch.testing.assert_close(logits[:, -1], MODEL(ids[:, :done])[:, -1], atol=2e-4, rtol=2e-4)


@same_function
@given(lengths=st.lists(st.integers(1, 50), min_size=2, max_size=4), steps=st.integers(0, 20))
@torch.inference_mode()
def test_row_of_a_ragged_batch_equals_the_row_alone(short_passes: None, lengths: list[int], steps: int) -> None:
    rows = [ids_of(length + steps, seed) for seed, length in enumerate(lengths)]
    padded = torch.full((len(rows), max(lengths)), 5)
    for row, (ids, length) in enumerate(zip(rows, lengths, strict=True)):
        padded[row, :length] = ids[0, :length]
    kept = MODEL.new_cache(batch_size=len(rows), max_length=max(lengths) + steps)
    logits, uncached = MODEL(padded, cache=kept, lengths=lengths), MODEL(padded, lengths=lengths)
    for row, (ids, length) in enumerate(zip(rows, lengths, strict=True)):
        alone = MODEL(ids[:, :length])[0]
        torch.testing.assert_close(logits[row, :length], alone, atol=2e-4, rtol=2e-4)
        torch.testing.assert_close(uncached[row, :length], alone, atol=2e-4, rtol=2e-4)
    for step in range(steps):
        new = torch.cat([ids[:, length + step, None] for ids, length in zip(rows, lengths, strict=True)])
        logits = MODEL(new, cache=kept)
        for row, (ids, length) in enumerate(zip(rows, lengths, strict=True)):
            expected = MODEL(ids[:, : length + step + 1])[0, -1]
            torch.testing.assert_close(logits[row, -1], expected, atol=2e-4, rtol=2e-4)


def packed_model(windows: tuple[int, ...], dtype: torch.dtype) -> Transformer:
    torch.manual_seed(0)
    model = random_model(num_layers=len(windows), attention_windows=windows, trained_length=64, context_length=1000)
    model.cache_dtype = dtype
    config = model.config
    sizes = [torch.rand(2, config.num_kv_heads, config.head_size // 2) + 0.1 for _ in windows]
    for layer in sizes:
        layer[1, :, 3] *= 50
    model.cache_factory = PackedCacheFactory(sizes)
    return model


@needs_library
@pytest.mark.parametrize("dtype", [torch.int8, torch.float16], ids=str)
@torch.inference_mode()
def test_native_rings_equal_whole_caches_to_the_bit(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    model = packed_model((40, 100, 0), dtype)
    ids, lengths = torch.randint(0, 320, (2, 400)), [400, 250]

    def compute() -> tuple[list[int], torch.Tensor]:
        kept = model.new_cache(batch_size=2, max_length=430)
        first = model.hidden(ids, cache=kept, lengths=lengths)
        steps = [model.hidden(ids[:, step : step + 1], cache=kept) for step in range(20)]
        return kept.sequences[0].num_slots, torch.cat((first[0], first[1, :250], *(step[:, 0] for step in steps)))

    whole_slots, whole = compute()
    monkeypatch.setattr(sequence_cache, "MAX_PASS_TOKENS", 28)
    ring_slots, ring = compute()
    assert (whole_slots, ring_slots) == ([430, 430, 430], [128, 128, 430])
    assert torch.equal(ring, whole)


@needs_library
@pytest.mark.parametrize("dtype", [torch.int8, torch.float16], ids=str)
@torch.inference_mode()
def test_native_windows_equal_the_reference(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    model = packed_model((40, 0), dtype)
    monkeypatch.setattr(sequence_cache, "MAX_PASS_TOKENS", 28)
    ids = torch.randint(0, 320, (2, 200))

    def compute() -> torch.Tensor:
        kept = model.new_cache(batch_size=2, max_length=210)
        first = model.hidden(ids, cache=kept, lengths=[200, 130])
        return torch.cat((first[0], first[1, :130], model.hidden(ids[:, :1], cache=kept)[:, 0]))

    found = compute()
    model.runner = run_layers
    expected = compute()
    errors = (found - expected).norm(dim=1) / expected.norm(dim=1)
    # Where noise of the last bit decides how a number is rounded to int8, all later roundings may go another way.
    assert errors.max() < 0.03
    assert errors.quantile(0.2) < 1e-6


@pytest.mark.parametrize("packed", [False, True])
def test_windows_free_the_cache_that_no_query_can_see(packed: bool) -> None:
    windows = (100, 300, 0)
    model: Callable[[tuple[int, ...]], Transformer] = make_model
    if packed:
        model = lambda windows: packed_model(windows, torch.int8)  # noqa: E731
    long, whole = model(windows).new_cache(max_length=10_000), model((0, 0, 0)).new_cache(max_length=10_000)
    assert long.sequences[0].num_slots == [640, 896, 10_000]
    assert long.num_bytes / whole.num_bytes == pytest.approx(11536 / 30000, rel=0.01)


def test_caches_of_other_windows_are_refused() -> None:
    other = make_model((5, 5, 0)).new_cache(max_length=8)
    with pytest.raises(SettingError, match="the cache was made for another model or other settings"):
        MODEL(ids_of(3), cache=other)


@pytest.mark.parametrize(
    ("windows", "message"),
    [((5, 6), "a tuple of 3 windows, one a layer, found"), ((5, -1, 0), "a layer's attention window must be")],
)
def test_wrong_windows_are_refused(windows: tuple[int, ...], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(MODEL.config, attention_windows=windows)
