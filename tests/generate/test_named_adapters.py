"""Requests of several adapters and of none are taken further together, and none can tell."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import tiny
from qwen7b.errors import SettingError
from qwen7b.generate import Greedy, Sample
from qwen7b.generate.engine import Engine
from qwen7b.generate.named_adapters import NamedAdapters
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import Token
from qwen7b.kernels import native
from qwen7b.model import Transformer
from random_adapters import write_random_adapter
from random_packed import random_model
from stepping import count_read

VOCAB = 300
pytestmark = pytest.mark.skipif(native.library() is None, reason="only native kernels compute a row alike in any pass")


@pytest.fixture(scope="module")
def folders(model: Transformer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of several ranks, one with rows of its own, and one with nothing else."""
    path, config = tmp_path_factory.mktemp("adapters"), model.config
    return {
        "a": write_random_adapter(path / "a", config, seed=1, rank=8),
        "b": write_random_adapter(path / "b", config, seed=2, rank=3, token_ids=(7, 8, 250), targets=("c_attn", "w2")),
        "rows": write_random_adapter(path / "rows", config, seed=3, token_ids=(7, 8, 9, 250, 251), targets=()),
    }


def engine_of(model: Transformer, folders: dict[str, Path], **options: Any) -> Engine:
    return Engine(model, vocab_size=VOCAB, adapters=NamedAdapters(model, folders), **options)


def run(engine: Engine, *requests: Request) -> list[list[int]]:
    for request in requests:
        engine.add(request)
    while engine.step():
        pass
    assert all(request.error is None for request in requests) and not engine.slots.busy
    return [request.ids for request in requests]


def tokens_of(request: Request) -> list[Token]:
    """The tokens that a request gets from now on, with their log-probabilities."""
    tokens: list[Token] = []
    request.logprobs, request.on_token = 2, lambda token: bool(tokens.append(token))  # type: ignore[func-returns-value]
    return tokens


def alone(model: Transformer, folders: dict[str, Path], request: Request) -> list[Token]:
    copy = copy_of(request)
    tokens = tokens_of(copy)
    run(engine_of(model, folders), copy)
    return tokens


def request_of(generator: random.Random, adapters: list[str | None]) -> Request:
    prompt = [generator.randrange(VOCAB) for _ in range(generator.choice([1, 3, 20, 70]))]
    sampling = generator.choice([Greedy(), Sample(seed=generator.randrange(99))])
    return Request(
        ids=prompt,
        max_length=len(prompt) + generator.choice([1, 9, 30]),
        sampling=sampling,
        ntk=generator.choice(["recompute", "original", "reserve"]),
        adapter=generator.choice(adapters),
        speculate=generator.choice([None, "ngram", "model"]),
    )


def copy_of(request: Request, **changes: Any) -> Request:
    names = ("max_length", "sampling", "ntk", "adapter")
    settings = {name: getattr(request, name) for name in names}
    return Request(**{"ids": request.ids[: request.num_prompt], **settings, **changes})


@pytest.mark.parametrize("seed", range(12))
def test_a_reply_does_not_depend_on_the_adapters_beside_it(
    model: Transformer, windowed: Transformer, folders: dict[str, Path], seed: int
) -> None:
    generator = random.Random(seed)
    model = windowed if seed % 2 else model
    requests = [request_of(generator, [None, *folders]) for _ in range(generator.randrange(3, 10))]
    for follower in requests[::3]:  # one with its prompt and the beginning of its reply, by another adapter too
        beginning = run(engine_of(model, folders), copy_of(follower))[0]
        beginning = beginning[: generator.randrange(1, len(beginning) + 1)]
        for name in (follower.adapter, generator.choice([None, *folders])):
            requests.append(copy_of(follower, ids=[*beginning], max_length=len(beginning) + 9, adapter=name))
    expected = [alone(model, folders, request) for request in requests]
    actual = [tokens_of(request) for request in requests]
    longest = max(request.max_length for request in requests)
    room = generator.choice([1, 2, 9]) * model.cache_bytes(capacity=longest + 256)
    engine = engine_of(
        model, folders, max_bytes=room, max_running=generator.choice([1, 3, 64]), draft_model=random_model()
    )
    late = list(requests)
    while late or engine.step():
        while late and generator.random() < 0.3:
            engine.add(late.pop(0))
    assert [request.error for request in requests] == [None] * len(requests)
    assert actual == expected  # to the last bit of the log-probabilities


def test_the_model_itself_replies_to_the_bit_as_without_adapters(model: Transformer, folders: dict[str, Path]) -> None:
    def request(n: int, adapter: str | None = None) -> Request:
        return Request(ids=[n, 5, 6], max_length=40, sampling=Sample(seed=n), adapter=adapter)

    plain, among = [[request(n) for n in range(4)] for _ in range(2)]
    others = [request(n, name) for n in range(4) for name in folders]
    expected, actual = [[tokens_of(each) for each in requests] for requests in (plain, among)]
    run(Engine(model, vocab_size=VOCAB), *plain)
    run(engine_of(model, folders), *[each for pair in zip(among, others, strict=False) for each in pair], *others[4:])
    assert actual == expected
    replies = {tuple(each.ids[3:]) for each in (*plain, *others)}
    assert len(replies) > 8  # adapters do change them


def test_prefixes_are_shared_only_within_one_adapter(
    model: Transformer, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, prompt = engine_of(model, folders), list(range(100))
    passes = count_read(monkeypatch)

    def num_read(name: str | None) -> int:
        passes.clear()
        run(engine, Request(ids=[*prompt, 5], max_length=102, adapter=name))
        return sum(map(sum, passes))

    assert [num_read(name) for name in ("a", "b", None)] == [101] * 3
    assert [num_read(name) for name in ("a", "b", None)] == [1] * 3
    passes.clear()
    run(engine, *(Request(ids=[9, *prompt], max_length=102, adapter=name) for name in ("a", "a", "b", None)))
    assert 3 * 101 <= sum(map(sum, passes)) <= 3 * 101 + 3  # the second waits for the first, and for no other


def test_adapters_come_and_go_while_the_engine_runs(model: Transformer, folders: dict[str, Path]) -> None:
    expected = run(engine_of(model, folders), Request(ids=[1, 2], max_length=30, adapter="a"))[0]
    engine = engine_of(model, {"a": folders["a"]})
    under_way = Request(ids=[1, 2], max_length=30, adapter="a")
    engine.add(under_way)
    for _ in range(5):
        engine.step()
    engine.adapters.remove("a")
    with pytest.raises(SettingError, match="there is no adapter 'a'; those of this model are none: load them"):
        engine.add(Request(ids=[1], max_length=9, adapter="a"))
    engine.adapters.add("a", folders["b"])
    newer = Request(ids=[1, 2], max_length=30, adapter="a")
    engine.add(newer)
    while engine.step():
        pass
    assert under_way.ids == expected
    assert newer.ids == run(engine_of(model, folders), Request(ids=[1, 2], max_length=30, adapter="b"))[0]
    assert {cache.adapter for cache in engine.slots.kept} == {newer.adapter_weights}
    engine.adapters.remove("a")
    engine.step()
    assert not engine.slots.kept  # nothing holds its memory any more


def test_names_that_are_unknown_taken_or_no_names(model: Transformer, folders: dict[str, Path]) -> None:
    adapters = NamedAdapters(model, folders)
    assert list(adapters) == ["a", "b", "rows"] and adapters.find("none") is None
    with pytest.raises(SettingError, match="no adapter 'row'; those of this model are 'a', 'b', 'rows'; did you mean"):
        adapters.find("row")
    with pytest.raises(SettingError, match="there is an adapter 'a' already: choose another name, or remove it first"):
        adapters.add("a", folders["b"])
    for name in ("", "none", 3):
        with pytest.raises(SettingError, match="an adapter's name should be a text"):
            adapters.add(name, folders["b"])  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="no adapter 'c'"):
        adapters.remove("c")


def test_float_models_too(tmp_path: Path) -> None:
    model = tiny.model(vocab_rows=VOCAB)
    folders = {"a": write_random_adapter(tmp_path / "a", model.config, token_ids=(4,), size=0.3)}
    engine = engine_of(model, folders)
    requests = [Request(ids=[1, 2, 3], max_length=40, adapter=name) for name in ("a", None)]
    run(engine, *requests)
    alone = [run(engine_of(model, folders), copy_of(request))[0] for request in requests]
    assert [request.ids for request in requests] == alone and alone[0] != alone[1]
