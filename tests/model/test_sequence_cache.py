"""A sequence's cache: room that grows, tokens that are forgotten, prefixes that are copied, and nothing lost by it."""

from __future__ import annotations

import random

import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny
from qwen7b import kernels
from qwen7b.errors import ResourceError
from qwen7b.model import Cache, SequenceCache, Transformer, sequence_cache
from qwen7b.model.layers import run_layers
from qwen7b.model.rows import Rows
from random_packed import random_model

ROWS = 97
WINDOWS = (5, 12, 0)
LONG = tiny.model(num_layers=3, attention_windows=WINDOWS)
PLAIN = tiny.model(num_layers=3, attention_windows=WINDOWS, rotary_scaling=None)  # which reads nothing again
same_function = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def packed(dtype: torch.dtype, *, trained_length: int) -> Transformer:
    torch.manual_seed(0)
    settings = {"attention_windows": (20, 100, 0), "trained_length": trained_length, "context_length": 2000}
    model = random_model(num_layers=3, **settings)
    model.cache_dtype = dtype
    return model


PACKED = [packed(dtype, trained_length=length) for dtype in (torch.int8, torch.float16) for length in (64, 1000)]


@pytest.fixture
def short_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes of at most 7 tokens, so that rings wind around in short sequences too."""
    monkeypatch.setattr(sequence_cache, "MAX_PASS_TOKENS", 7)
    monkeypatch.setattr(sequence_cache, "CHUNK", 4)


@pytest.fixture
def small_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rings of 128 slots, whole chunks of the native attention."""
    monkeypatch.setattr(sequence_cache, "MAX_PASS_TOKENS", 28)


def read(model: Transformer, cache: SequenceCache, ids: list[int]) -> torch.Tensor:
    return model.hidden(torch.tensor([ids]), cache=Cache([cache]))[0]


def mix_and_compare(model: Transformer, choose: random.Random, *, longest: int, atol: float) -> None:
    """Read, grow, forget and copy at random: each sequence goes on as one does that was read in one go."""
    caches = [model.new_sequence_cache(capacity=choose.randint(1, longest // 2)) for _ in range(2)]
    held: list[list[int]] = [[], []]
    with torch.inference_mode():
        for _ in range(choose.randint(3, 12)):
            this = choose.randrange(2)
            cache, ids = caches[this], held[this]
            what = choose.choice(["read", "read", "read", "grow", "truncate", "copy"])
            if what == "grow":
                cache.grow(min(longest, cache.capacity + choose.randint(0, longest // 2)))
            elif what == "read" and (room := cache.capacity - cache.length):
                new = [choose.randrange(ROWS) for _ in range(choose.randint(1, min(room, longest // 3)))]
                read(model, cache, new)
                ids += new
            elif what == "truncate":
                lengths = [length for length in range(cache.length + 1) if cache.reaches_back(length)]
                assert 0 in lengths and cache.length in lengths
                cache.truncate(choose.choice(lengths))
                del ids[cache.length :]
            elif what == "copy":
                source = caches[1 - this]
                most = min(source.length, cache.capacity)
                length = choose.choice([length for length in range(most + 1) if source.reaches_back(length)])
                cache.copy_prefix(source, length)
                assert cache.reaches_back(length)
                held[this] = held[1 - this][:length]
            assert cache.length == len(held[this]) and cache.ids[: cache.length].tolist() == held[this]
        for cache, ids in zip(caches, held, strict=True):
            cache.grow(longest + 20)
            probe = [choose.randrange(ROWS) for _ in range(12)]
            fresh = model.new_sequence_cache(capacity=longest + 20)
            if ids:
                read(model, fresh, ids)
            expected, actual = (read(model, each, probe) for each in (fresh, cache))
            torch.testing.assert_close(actual, expected, atol=atol, rtol=atol)


@same_function
@given(seed=st.integers(0, 10**9), model=st.sampled_from([LONG, PLAIN]))
def test_any_mix_of_operations_equals_one_reading(short_passes: None, seed: int, model: Transformer) -> None:
    mix_and_compare(model, random.Random(seed), longest=60, atol=3e-4)


@pytest.mark.skipif(kernels.instruction_set() is None, reason="needs the native library")
@same_function
@given(seed=st.integers(0, 10**9), model=st.sampled_from(PACKED))
def test_any_mix_on_packed_weights_is_equal_to_the_bit(small_rings: None, seed: int, model: Transformer) -> None:
    mix_and_compare(model, random.Random(seed), longest=400, atol=0)


@torch.inference_mode()
def test_a_ring_reaches_back_until_it_has_wound_around(short_passes: None) -> None:
    cache, ids = PLAIN.new_sequence_cache(capacity=100), [*range(60)]
    assert cache.num_slots == [12, 20, 100]
    read(PLAIN, cache, ids[:7])
    assert all(cache.reaches_back(length) for length in range(8)) and not cache.reaches_back(8)
    read(PLAIN, cache, ids[7:50])
    # Positions from 38 and 30 on are held, of which queries see 4 and 11 before their own.
    assert [length for length in range(51) if cache.reaches_back(length)] == [0, *range(42, 51)]
    with pytest.raises(AssertionError):
        cache.truncate(41)
    cache.truncate(43)
    assert cache.reaches_back(42) and not cache.reaches_back(41)
    cache.truncate(0)
    read(PLAIN, cache, ids[:5])
    assert cache.reaches_back(1)


@torch.inference_mode()
def test_draft_tokens_are_written_and_forgotten_at_any_place(short_passes: None) -> None:
    cache, plain = PLAIN.new_sequence_cache(capacity=100), PLAIN.new_sequence_cache(capacity=100)
    for token in range(60):
        read(PLAIN, cache, [token, 90, 91, 92, 93, 94, 95])
        cache.truncate(token + 1)
        read(PLAIN, plain, [token])
    torch.testing.assert_close(read(PLAIN, cache, [7]), read(PLAIN, plain, [7]), atol=2e-4, rtol=2e-4)


@torch.inference_mode()
def test_an_interrupted_pass_keeps_what_was_read_before(short_passes: None) -> None:
    model = tiny.model(num_layers=3, attention_windows=WINDOWS)
    cache, ids = model.new_sequence_cache(capacity=100), [*range(48)]
    read(model, cache, ids[:31])
    calls = 0

    def interrupt(layers: torch.nn.ModuleList, x_RC: torch.Tensor, rows: Rows, cache: Cache | None) -> torch.Tensor:
        nonlocal calls
        calls += 1
        x_RC = run_layers(layers[: 2 if calls == 3 else 3], x_RC, rows, cache)
        if calls == 3:
            raise KeyboardInterrupt
        return x_RC

    model.runner = interrupt
    with pytest.raises(KeyboardInterrupt):
        read(model, cache, ids[31:40])  # another alpha: all of it is read again, seven tokens at a time
    model.runner = run_layers
    assert cache.length == 14
    found = read(model, cache, ids[14:])
    torch.testing.assert_close(found[-1], model.hidden(torch.tensor([ids]))[0, -1], atol=2e-4, rtol=2e-4)


@torch.inference_mode()
def test_sequences_of_unlike_capacity_share_a_pass() -> None:
    caches = [LONG.new_sequence_cache(capacity=capacity) for capacity in (9, 64, 30)]
    rows = [torch.arange(9), torch.arange(20, 33), torch.arange(50, 51)]
    ((_, hidden),) = LONG.passes(rows, cache=Cache(caches))
    for row, found in zip(rows, hidden.split([len(row) for row in rows]), strict=True):
        torch.testing.assert_close(found, LONG.hidden(row[None])[0], atol=2e-4, rtol=2e-4)
    assert [cache.capacity for cache in caches] == [9, 64, 30]


def test_bytes_are_known_beforehand() -> None:
    for model in (LONG, *PACKED):
        cache = model.new_sequence_cache(capacity=100)
        assert cache.num_bytes == model.cache_bytes(capacity=100)
        cache.grow(1500)
        assert cache.num_bytes == model.cache_bytes(capacity=1500) == model.new_cache(max_length=1500).num_bytes


@torch.inference_mode()
@pytest.mark.parametrize("model", [PLAIN, *PACKED])
def test_room_is_zero_and_aligned_to_the_loads_of_the_kernels(model: Transformer) -> None:
    for tensors in model.new_sequence_cache(capacity=41).layers:
        for tensor in tensors.values():
            assert not tensor.count_nonzero() and tensor.data_ptr() % 64 == 0 and tensor.is_contiguous()


def test_room_takes_memory_only_as_it_is_written_to() -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    caches = [PLAIN.new_sequence_cache(capacity=1_000_000) for _ in range(2)]
    assert process.memory_info().rss - before < 0.2 * sum(cache.num_bytes for cache in caches)


def test_growth_without_room_leaves_the_cache_as_it_was() -> None:
    cache = PLAIN.new_sequence_cache(capacity=10)
    expected = read(PLAIN, cache, [1, 2, 3])
    with pytest.raises(ResourceError, match=r"growing a cache from 10 to 1000000000000 tokens needs \d+\.\d GB"):
        cache.grow(10**12)
    cache.truncate(0)
    assert cache.capacity == 10 and torch.equal(read(PLAIN, cache, [1, 2, 3]), expected)
    with pytest.raises(ResourceError, match=r"a cache of 1000000000000 tokens needs"):
        PLAIN.new_sequence_cache(capacity=10**12)
