"""Memory: what caches take is bounded, follows what others leave, and does not grow with the number of chats."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from qwen7b.errors import ResourceError
from qwen7b.generate.engine import Engine
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State
from qwen7b.model import Transformer
from random_packed import random_model

VOCAB = 300


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(1)
    return random_model(trained_length=4000, context_length=4000)


def engine_of(model: Transformer, **options: Any) -> Engine:
    return Engine(model, vocab_size=VOCAB, **options)


def request_of(seed: int, length: int = 20, new: int = 2) -> Request:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCAB, (length,), generator=generator).tolist()
    return Request(ids=ids, max_length=length + new)


def run(engine: Engine, *requests: Request) -> None:
    for request in requests:
        engine.add(request)
    while engine.step():
        pass
    assert [request.error for request in requests] == [None] * len(requests) and not engine.slots.busy


def kept_bytes(engine: Engine) -> int:
    return sum(cache.num_bytes for cache in engine.slots.kept)


def test_what_is_kept_is_bounded_by_number_and_by_bytes(model: Transformer) -> None:
    room = model.cache_bytes(capacity=3000)
    engine = engine_of(model, max_bytes=room)
    run(engine, *map(request_of, range(64)))
    assert len(engine.slots.kept) == 16 and kept_bytes(engine) <= room / 4
    run(engine, *(request_of(seed, length=300) for seed in range(8)))
    assert 1 < len(engine.slots.kept) < 8 and kept_bytes(engine) <= room / 4
    long = request_of(9, length=2000)
    run(engine, long)
    (kept,) = engine.slots.kept  # for the next turn of a long conversation, whatever it takes
    assert kept.ids[:2000].tolist() == long.ids[:2000] and kept.num_bytes > room / 4
    run(engine, request_of(10))
    assert len(engine.slots.kept) == 1 and kept_bytes(engine) <= room / 4


def test_memory_that_others_take_or_leave_is_noticed(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    free = model.cache_bytes(capacity=1000)
    monkeypatch.setattr("qwen7b.generate.cache_memory.available_bytes", lambda device: free)
    engine = engine_of(model)
    with pytest.raises(ResourceError, match="1500 tokens"):
        engine.add(request_of(1, length=1400, new=100))
    free = model.cache_bytes(capacity=3000)
    run(engine, request_of(1, length=1400, new=100))
    run(engine, *(request_of(seed, length=40) for seed in range(9)))
    assert len(engine.slots.kept) > 1
    free = model.cache_bytes(capacity=16)
    starved, waiting = request_of(3, length=900), request_of(4)
    with pytest.raises(ResourceError, match="902 tokens"):
        engine.add(starved)
    engine.add(waiting)
    while engine.step():
        pass
    assert waiting.state in (State.DONE, State.FAILED) and kept_bytes(engine) <= model.cache_bytes(capacity=700)


def test_two_models_in_a_process_do_not_take_the_same_memory_twice(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = model.cache_bytes(capacity=4000)
    engines = [engine_of(model) for _ in range(2)]

    def written(engine: Engine) -> int:
        caches = (*engine.slots.busy, *engine.slots.kept)
        return sum(cache.num_bytes * cache.length // cache.capacity for cache in caches)

    monkeypatch.setattr(
        "qwen7b.generate.cache_memory.available_bytes", lambda device: total - sum(map(written, engines))
    )
    requests = [request_of(seed, length=350, new=40) for seed in range(16)]
    for number, request in enumerate(requests):
        engines[number % 2].add(request)
    while [engine for engine in engines if engine.step()]:
        assert sum(map(written, engines)) <= total
    assert {request.state for request in requests} == {State.DONE}


def test_freed_memory_counts_once_the_system_has_it_back(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with glibc, which holds freed memory back until it is told to return it."""
    total = model.cache_bytes(capacity=4000)
    engine = engine_of(model)
    released: list[int] = []
    peak = 0

    def held() -> int:
        return sum(cache.num_bytes for cache in (*engine.slots.busy, *engine.slots.kept))

    def available(device: torch.device) -> int:
        nonlocal peak
        peak = max(peak, held())
        return total - peak

    def release(device: torch.device) -> None:
        nonlocal peak
        peak = held()
        released.append(peak)

    monkeypatch.setattr("qwen7b.generate.cache_memory.available_bytes", available)
    monkeypatch.setattr("qwen7b.generate.cache_memory.release_freed", release)
    run(engine, request_of(1, length=1300), request_of(2, length=1200))
    run(engine, request_of(3, length=1500))
    assert released and engine.slots.kept


def test_memory_that_is_taken_at_the_last_moment_makes_a_request_wait(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, first, second = engine_of(model), request_of(1, length=30, new=400), request_of(2)
    engine.add(first)
    engine.step()
    with monkeypatch.context() as patch:
        patch.setattr("qwen7b.system.memory.available_bytes", lambda device: 0)  # as the cache itself finds it
        engine.add(second)
        for _ in range(5):
            engine.step()
        assert second.state is State.WAITING and first.state is State.DECODING
    while engine.step():
        pass
    assert {first.state, second.state} == {State.DONE}


RELEASE = """
import psutil, torch
from qwen7b.system.memory import release_freed

torch.ones(16 << 20, dtype=torch.uint8)  # from when on glibc takes smaller ones from its heap
held = [torch.ones(1 << 20, dtype=torch.uint8) for _ in range(300)]
before = psutil.Process().memory_info().rss
del held[:-1]  # the last is on top of them
release_freed(torch.device("cpu"))
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries do so by themselves, or cannot be told to")
def test_freed_memory_is_given_back() -> None:
    result = subprocess.run([sys.executable, "-c", RELEASE], capture_output=True, text=True, check=True)
    assert int(result.stdout) > 250 << 20


CHATS = """
import sys
sys.path.insert(0, sys.argv[1])
import psutil, torch
from qwen7b.generate.engine import Engine
from qwen7b.generate.request import Request
from random_packed import random_model

torch.manual_seed(1)
model = random_model(trained_length=4000, context_length=4000)
engine = Engine(model, vocab_size=300)
kept, held = [], []
for chat in range(200):
    ids = torch.randint(300, (100 + 13 * (chat % 16),)).tolist()
    engine.add(Request(ids=ids, max_length=len(ids) + 1))
    while engine.step():
        pass
    kept.append(sum(cache.num_bytes for cache in engine.slots.kept))
    held.append(psutil.Process().memory_info().rss)
print(max(kept[20:]) / max(kept[:20]), max(held[20:]) / max(held[:20]))
"""


def test_a_process_holds_no_more_after_two_hundred_chats_than_after_twenty() -> None:
    command = [sys.executable, "-c", CHATS, str(Path(__file__).parents[1])]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, held = map(float, result.stdout.split())
    assert kept <= 1.0 and held < 1.05


def test_caches_that_are_full_together_grow_one_a_step(model: Transformer) -> None:
    engine = engine_of(model)
    requests = [request_of(seed, new=600) for seed in range(5)]
    for request in requests:
        engine.add(request)
    engine.step()
    caches = [request.cache for request in requests]
    capacities, growing = [[cache.capacity for cache in caches if cache]], []
    while engine.step() and all(request.cache for request in requests):
        capacities.append([cache.capacity for cache in caches if cache])
        growing.append(sum(new > old for new, old in zip(capacities[-1], capacities[-2], strict=True)))
    assert max(growing) == 1 and sum(growing) >= 2 * len(requests)


def test_growing_ahead_preempts_nobody(model: Transformer) -> None:
    requests = [request_of(seed, new=400) for seed in range(3)]
    engine = engine_of(model, max_bytes=3 * model.cache_bytes(capacity=430))
    preempted = 0
    for request in requests:
        engine.add(request)
    while engine.step():
        preempted += any(request.state is State.WAITING for request in requests)
    assert not preempted and [len(request.ids) for request in requests] == [420] * 3
