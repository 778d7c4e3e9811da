"""One model for many callers: threads and tasks get what they would get alone, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import qwen7b
from qwen7b import Qwen, Reply
from qwen7b.batch import answer_requests
from qwen7b.errors import PromptError, SettingError
from qwen7b.generate.engine import Engine
from stepping import Places

QUESTIONS = [f"question {number} " * (1 + 9 * (number % 3)) for number in range(12)]
SETTINGS: dict[str, Any] = {"max_new_tokens": 24, "temperature": 1.3, "seed": 5}


@pytest.fixture(scope="module")
def qwen(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="q8")


@pytest.fixture(scope="module")
def expected(qwen: Qwen) -> list[Reply]:
    return [qwen.chat(question, **SETTINGS) for question in QUESTIONS]


@pytest.fixture(autouse=True)
def nothing_is_left(qwen: Qwen) -> Iterator[None]:
    yield
    shared = qwen._shared
    shared.cancel([])
    assert not shared.engine.slots.busy and not shared.engine.admission.running and not shared.engine.admission.waiting


def slow_down(monkeypatch: pytest.MonkeyPatch, *, then: Callable[[], object] = lambda: None) -> None:
    """Let every step take some time, and do something in it."""
    original = Engine.step

    def step(engine: Engine) -> bool:
        time.sleep(0.005)
        then()
        return original(engine)

    monkeypatch.setattr(Engine, "step", step)


def test_threads_share_a_model(qwen: Qwen, expected: list[Reply]) -> None:
    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        replies = list(pool.map(lambda question: qwen.chat(question, **SETTINGS), QUESTIONS))
        batches = list(pool.map(lambda _: qwen.chat_batch(QUESTIONS[:3], **SETTINGS), range(4)))
    assert replies == expected and batches == [expected[:3]] * 4


def test_tasks_share_a_model(qwen: Qwen, expected: list[Reply]) -> None:
    async def stream(question: str) -> Reply:
        pieces = [piece async for piece in qwen.astream(question, **SETTINGS)]
        reply = pieces[-1].reply
        assert reply and reply.text == "".join(piece.text for piece in pieces)
        return reply

    async def ask() -> list[Reply]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        asked = [stream(q) if n % 2 else qwen.achat(q, **SETTINGS) for n, q in enumerate(QUESTIONS)]
        replies = await asyncio.gather(*asked)
        ticking.cancel()
        assert ticks > 100  # the loop went on meanwhile
        return replies

    assert asyncio.run(ask()) == expected
    text = qwen.complete("hello", **SETTINGS)
    assert asyncio.run(qwen.acomplete("hello", **SETTINGS)) == text  # in another loop, after the thread has ended


def test_what_is_wrong_is_said_at_once_and_to_its_caller(qwen: Qwen, expected: list[Reply]) -> None:
    with pytest.raises(SettingError, match="no setting temprature"):
        qwen.astream("hello", temprature=1.0)  # type: ignore[call-arg]

    async def ask() -> list[Reply | BaseException]:
        bad = [qwen.achat("hello", logit_bias={10**6: 1.0}), qwen.achat("")]
        return await asyncio.gather(*bad, qwen.achat(QUESTIONS[0], **SETTINGS), return_exceptions=True)

    biased, empty, reply = asyncio.run(ask())
    assert isinstance(biased, SettingError) and isinstance(empty, PromptError) and reply == expected[0]


def test_a_task_that_is_cancelled_leaves_its_neighbours(
    qwen: Qwen, expected: list[Reply], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_down(monkeypatch)

    async def ask() -> list[Reply]:
        tasks = [asyncio.create_task(qwen.achat(question, **SETTINGS)) for question in QUESTIONS]
        await asyncio.sleep(0.05)
        for task in tasks[::2]:
            task.cancel()
        cancelled = await asyncio.gather(*tasks[::2], return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in cancelled)
        replies = await asyncio.gather(*tasks[1::2])
        async for _ in qwen.astream(QUESTIONS[0], **SETTINGS):
            break  # and a stream that nobody reads to its end
        return replies

    assert asyncio.run(ask()) == expected[1::2]
    deadline = time.monotonic() + 20
    while qwen._shared.engine.slots.busy and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not qwen._shared.engine.slots.busy


def test_a_stream_that_is_dropped_frees_its_memory(qwen: Qwen, expected: list[Reply]) -> None:
    pieces = qwen.stream(QUESTIONS[0], **SETTINGS)
    next(pieces)
    assert len(qwen._shared.engine.slots.busy) == 1
    del pieces
    gc.collect()
    assert not qwen._shared.engine.slots.busy
    assert qwen.chat(QUESTIONS[0], **SETTINGS) == expected[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_ctrl_c_ends_the_main_thread_s_reply_only(
    qwen: Qwen, expected: list[Reply], monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = {**SETTINGS, "max_new_tokens": 200, "logit_bias": dict.fromkeys(qwen.stop_ids, -math.inf)}
    whole = qwen.chat(QUESTIONS[0], **longer)
    is_sent = False

    def interrupt() -> None:
        nonlocal is_sent
        running = qwen._shared.engine.admission.running
        is_on = any(request.max_length == request.num_prompt + 200 < len(request.ids) + 196 for request in running)
        if is_on and len(running) > 1 and not is_sent:
            is_sent = True
            signal.raise_signal(signal.SIGINT)

    slow_down(monkeypatch, then=interrupt)
    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(qwen.chat, question, **SETTINGS) for question in QUESTIONS[1:4] * 9]
        reply = qwen.chat(QUESTIONS[0], **longer)
        assert [other.result(60) for other in others] == expected[1:4] * 9
    assert is_sent and reply.finish_reason == "interrupted"
    assert whole.token_ids[: len(reply.token_ids)] == reply.token_ids
    assert qwen.chat(QUESTIONS[0], **SETTINGS) == expected[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize("call", ["chat", "samples", "dropped stream", "score", "with a draft model", "requests"])
def test_ctrl_c_at_any_place_leaves_the_engine_usable(
    qwen: Qwen, expected: list[Reply], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)  # one that comes while a stream is deleted
    drafting = Qwen(qwen.model, qwen.tokenizer, generation=qwen.generation, speculate=qwen)
    chosen = drafting if call == "with a draft model" else qwen
    shared = chosen._shared
    settings = {**SETTINGS, "max_new_tokens": 2 if chosen is qwen else 4}

    def work() -> None:
        if call == "samples":
            chosen.chat_samples(QUESTIONS[0], n=2, **settings)
        elif call == "dropped stream":
            next(chosen.stream(QUESTIONS[0], **SETTINGS))
        elif call == "requests":
            [*answer_requests(chosen, QUESTIONS[:2], **settings)]
        elif call == "score":
            chosen.score(["hello"], [["er"]])
        else:
            chosen.chat(QUESTIONS[0], **settings)

    names = [
        "shared_engine",
        "answers",
        "answering",
        "hidden_states",
        "model_drafter",
        "admission",
        "cache_memory",
        "signals",
    ]
    files = [*(f"{name}.py" for name in names), "threading.py", "contextlib.py"]
    with (places := Places(files)).watched():
        work()
    for at in random.Random(0).sample(range(1, places.number + 1), 50):
        try:
            with Places(files, at=at).watched():
                work()
        except KeyboardInterrupt:
            pass
        assert shared._stepping is None and shared._changed.acquire(blocking=False), at
        shared._changed.release()
        shared.cancel([])
        engine, drafters = shared.engine, shared.engine.speculation.drafters
        assert not (engine.slots.busy or engine.admission.running or engine.admission.waiting), at
        assert "model" not in drafters or not drafters["model"]._slots.busy, at  # type: ignore[attr-defined]
    assert chosen.chat(QUESTIONS[0], **SETTINGS) == expected[0]


def test_an_event_loop_that_is_closed_meanwhile_harms_nobody(qwen: Qwen, expected: list[Reply]) -> None:
    loop = asyncio.new_event_loop()
    pieces = qwen.astream("hello", max_new_tokens=400, temperature=1.3)
    loop.run_until_complete(anext(pieces))
    loop.close()  # while the thread goes on with the reply, which nobody ends
    assert asyncio.run(asyncio.wait_for(qwen.achat(QUESTIONS[0], **SETTINGS), 60)) == expected[0]
    assert qwen.chat(QUESTIONS[1], **SETTINGS) == expected[1]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError("no"), SystemExit(3)])
def test_what_a_processor_raises_reaches_its_caller_and_not_the_thread(
    qwen: Qwen, expected: list[Reply], error: BaseException
) -> None:
    def fail(ids: Sequence[int], logits_V: Tensor) -> Tensor:
        raise error

    async def ask() -> None:
        with pytest.raises((ValueError, RuntimeError)):
            await asyncio.wait_for(qwen.achat("hello", processors=[fail]), 60)
        assert await asyncio.wait_for(qwen.achat(QUESTIONS[0], **SETTINGS), 60) == expected[0]

    asyncio.run(ask())


def test_a_stream_may_be_deleted_within_a_step(qwen: Qwen, expected: list[Reply]) -> None:
    streams = [qwen.stream("hello", max_new_tokens=100)]
    next(streams[0])

    def delete(ids: Sequence[int], logits_V: Tensor) -> Tensor:
        streams.clear()  # as garbage collection does at any point
        return logits_V

    assert qwen.chat(QUESTIONS[0], processors=[delete], **SETTINGS) == expected[0]


def test_a_processor_that_would_wait_for_its_own_step_is_told(qwen: Qwen, expected: list[Reply]) -> None:
    def ask(ids: Sequence[int], logits_V: Tensor) -> Tensor:
        qwen.chat("hello")
        return logits_V

    with pytest.raises(SettingError, match="cannot wait for another"):
        qwen.chat("hello", processors=[ask])
    assert qwen.chat(QUESTIONS[0], **SETTINGS) == expected[0]


def test_the_thread_for_event_loops_ends_with_its_work(qwen: Qwen) -> None:
    asyncio.run(qwen.achat("hello", **SETTINGS))
    deadline = time.monotonic() + 20
    while any(thread.name == "qwen7b engine" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
