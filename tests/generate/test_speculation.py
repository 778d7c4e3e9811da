"""A draft makes a request quicker, and changes nothing of what it gets."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from qwen7b.errors import SettingError
from qwen7b.generate import Greedy, Sample
from qwen7b.generate.engine import Engine
from qwen7b.generate.pace import Pace
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State, Token
from qwen7b.generate.speculation import MAX_DRAFT, Drafter, Speculation, Success
from qwen7b.kernels import native
from qwen7b.model import Transformer
from random_packed import random_model
from stepping import interrupt_passes, step_on

VOCAB = 300
pytestmark = pytest.mark.skipif(native.library() is None, reason="only native kernels compute a row alike in any pass")


class Knowing:
    """Drafts what will come, but for some wrong ids."""

    def __init__(self, texts: Sequence[list[int]], generator: random.Random) -> None:
        self.texts, self.generator = texts, generator
        self.forgotten: list[Request] = []

    def offer(self, request: Request, *, max_length: int) -> int:
        return self.generator.randrange(max_length + 1)

    def draft(self, lengths: Mapping[Request, int]) -> dict[Request, list[int]]:
        return {request: self._draft(request, length) for request, length in lengths.items()}

    def _draft(self, request: Request, length: int) -> list[int]:
        (text,) = {tuple(text) for text in self.texts if text[: len(request.ids)] == request.ids} or {()}
        draft = list(text[len(request.ids) :][:length])
        draft += [self.generator.randrange(VOCAB)] * (length - len(draft))
        if length and self.generator.random() < 0.5:
            draft[self.generator.randrange(length)] = self.generator.randrange(VOCAB)
        return draft

    def forget(self, request: Request) -> None:
        self.forgotten.append(request)


@pytest.fixture(scope="module")
def models() -> list[Transformer]:
    torch.manual_seed(3)
    windowed = random_model(attention_windows=(40, 0), context_length=2000, trained_length=2000)
    return [random_model(), windowed, random_model(bits=8, num_layers=1)]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draft as much as can be, whatever it brings."""
    monkeypatch.setattr(
        Speculation, "_choose_lengths", lambda self, name, limits, **_: {r: n for r, n in limits.items() if n > 0}
    )


def settings_of(generator: random.Random) -> dict[str, Any]:
    """A request with everything that its tokens may depend on."""
    prompt = [generator.randrange(VOCAB) for _ in range(generator.choice([1, 3, 20, 45]))]
    forced = [generator.randrange(VOCAB) for _ in range(3)]

    def force(ids: Sequence[int]) -> Sequence[int]:
        return forced if len(ids) % 11 == 0 else []

    def process(ids: Sequence[int], logits_V: torch.Tensor) -> torch.Tensor:
        logits_V[(ids[-1] + len(ids)) % VOCAB] += 5.0
        return logits_V

    seed = generator.randrange(99)
    return {
        "ids": prompt,
        "max_length": len(prompt) + generator.choice([2, 9, 60]),
        "sampling": generator.choice(
            [
                Greedy(),
                Greedy(repetition_penalty=1.3, frequency_penalty=0.3),
                Sample(seed=seed),
                Sample(seed=seed, temperature=0.3, top_k=20, top_p=0.9, presence_penalty=0.5),
                Sample(seed=seed, min_p=0.1, logit_bias={5: 3.0}),
            ]
        ),
        "ntk": generator.choice(["recompute", "recompute", "original", "reserve"]),
        "stop_ids": frozenset(generator.choices(range(VOCAB), k=generator.choice([0, 5]))),
        "logprobs": generator.choice([None, None, 2]),
        "processors": generator.choice([(), (process,)]),
        "forced": generator.choice([None, None, force]),
        "priority": generator.randrange(2),
    }


def listening(settings: Mapping[str, Any], **changes: Any) -> tuple[Request, list[Token]]:
    """A request and the tokens that it is told."""
    tokens: list[Token] = []

    def on_token(token: Token) -> bool:
        tokens.append(token)
        return False

    return Request(**{**settings, "ids": list(settings["ids"]), "on_token": on_token, **changes}), tokens


def run(engine: Engine, *requests: Request) -> list[list[int]]:
    for request in requests:
        engine.add(request)
    while engine.step():
        pass
    assert all(request.is_over and request.cache is None for request in requests) and not engine.slots.busy
    return [request.ids for request in requests]


def engine_of(model: Transformer, **options: Any) -> Engine:
    return Engine(model, vocab_size=VOCAB, **options)


def drafted_by(engine: Engine, name: str, drafter: Drafter) -> Engine:
    engine.speculation.drafters[name] = drafter
    return engine


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.usefixtures("always")
def test_nothing_depends_on_a_draft(models: list[Transformer], seed: int) -> None:
    generator = random.Random(seed)
    model = models[seed % 2]
    settings = [settings_of(generator) for _ in range(generator.randrange(1, 7))]
    expected = [listening(each) for each in settings]
    for request, _ in expected:
        run(engine_of(model), request)
    longest = max(request.max_length for request, _ in expected)
    room = generator.choice([1, 2, 9]) * model.cache_bytes(capacity=longest + 256)
    engine = engine_of(model, max_bytes=room, max_running=generator.choice([2, 64]), draft_model=models[2])
    drafted_by(engine, "knowing", knowing := Knowing([request.ids for request, _ in expected], generator))
    names = ["knowing", "knowing", "ngram", "ngram-pool", "model", None]
    actual = [listening(each, speculate=generator.choice(names)) for each in settings]
    late = [request for request, _ in actual]
    while late or engine.step():
        while late and generator.random() < 0.4:
            engine.add(late.pop(0))
    assert [request.error for request, _ in actual] == [None] * len(actual)
    assert [request.ids for request, _ in actual] == [request.ids for request, _ in expected]
    assert [tokens for _, tokens in actual] == [tokens for _, tokens in expected]
    assert set(knowing.forgotten) == {request for request, _ in actual if request.speculate == "knowing"}


@pytest.mark.usefixtures("always")
def test_what_is_drafted_right_costs_no_step(models: list[Transformer]) -> None:
    settings = {"ids": [1, 2], "max_length": 60, "sampling": Sample(seed=3), "ntk": "reserve"}
    expected, _ = listening(settings)
    run(engine_of(models[0]), expected)

    class Right(Knowing):
        def offer(self, request: Request, *, max_length: int) -> int:
            return max_length

        def _draft(self, request: Request, length: int) -> list[int]:
            return self.texts[0][len(request.ids) :][:length]

    engine = drafted_by(engine_of(models[0]), "right", Right([expected.ids], random.Random(0)))
    request, _ = listening(settings, speculate="right")
    engine.add(request)
    num_steps = 0
    while engine.step():
        num_steps += 1
    assert request.ids == expected.ids
    assert num_steps == 1 + -(-57 // (MAX_DRAFT + 1))  # the prompt brings the first of 58 tokens


@pytest.mark.parametrize("length", [1, 2, 4, 5, 9])
@pytest.mark.usefixtures("always")
def test_forced_ids_take_the_place_of_wrong_drafts(models: list[Transformer], length: int) -> None:
    def force(ids: Sequence[int]) -> Sequence[int]:
        return [7, 8, 9, 10] if len(ids) % 7 == 0 else []

    class Wrong(Knowing):
        def offer(self, request: Request, *, max_length: int) -> int:
            return min(max_length, length)

        def _draft(self, request: Request, length: int) -> list[int]:
            return [17] * length

    def requests(speculate: str | None) -> list[Request]:
        settings: dict[str, Any] = {"max_length": 60, "forced": force, "ntk": "reserve", "speculate": speculate}
        return [Request(ids=[n, 2], **settings) for n in range(3)]

    expected = [run(engine_of(models[0]), request)[0] for request in requests(None)]
    engine = drafted_by(engine_of(models[0]), "wrong", Wrong([], random.Random(0)))
    assert run(engine, *requests("wrong")) == expected


@pytest.mark.usefixtures("always")
def test_a_cancelled_request_takes_no_more_of_its_draft(models: list[Transformer]) -> None:
    settings = {"ids": [1, 2], "max_length": 60, "ntk": "reserve"}
    expected, _ = listening(settings)
    run(engine_of(models[0]), expected)
    engine = engine_of(models[0])
    drafted_by(engine, "knowing", Knowing([expected.ids], random.Random(1)))

    def cancel(token: Token) -> bool:
        if len(request.ids) == 20:
            engine.cancel(request)
        return False

    request, _ = listening(settings, speculate="knowing", on_token=cancel)
    assert run(engine, request) == [expected.ids[:20]] and request.state is State.CANCELLED
    other, _ = listening(settings, ids=expected.ids[:18])  # what was kept of the other is what it says
    assert run(engine, other) == [expected.ids]


@pytest.mark.usefixtures("always")
def test_an_interrupt_costs_the_step_only(models: list[Transformer], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [{"ids": [n, 4], "max_length": 40, "sampling": Sample(seed=n)} for n in range(4)]
    expected = [listening(each)[0] for each in settings]
    for request in expected:
        run(engine_of(models[0]), request)
    engine = engine_of(models[0], draft_model=models[2])
    drafted_by(engine, "knowing", Knowing([request.ids for request in expected], random.Random(1)))
    interrupt_passes(monkeypatch, every=43)
    requests = [listening(each, speculate=("knowing", "model")[n % 2])[0] for n, each in enumerate(settings)]
    for request in requests:
        engine.add(request)
    step_on(engine)
    assert [request.error for request in requests] == [None] * 4
    assert [request.ids for request in requests] == [request.ids for request in expected]


def test_who_drafts_has_to_be_known(models: list[Transformer]) -> None:
    engine = engine_of(models[0])
    with pytest.raises(SettingError, match="speculate should be one of ngram, ngram-pool, found 'model'"):
        engine.add(Request(ids=[1], max_length=9, speculate="model"))
    assert not engine.step()


def pace_of(seconds: Mapping[int, float]) -> Pace:
    pace = Pace()
    for rows, each in seconds.items():
        pace.measure(each, num_decoding=rows, num_read=0)
    return pace


class Willing:
    """Drafts anything."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def offer(self, request: Request, *, max_length: int) -> int:
        return max_length

    def draft(self, lengths: Mapping[Request, int]) -> dict[Request, list[int]]:
        return {request: [0] * length for request, length in lengths.items()}

    def forget(self, request: Request) -> None:
        pass


def lengths_of(pace: Pace, probabilities: Sequence[float], *, token_seconds: float = 0.0) -> list[int]:
    speculation = Speculation(pace, vocab_size=VOCAB)
    requests = [Request(ids=[1], max_length=99, speculate="ngram") for _ in probabilities]
    for request, probability in zip(requests, probabilities, strict=True):
        speculation._success[request] = Success(accepted=1e6 * probability, checked=1e6)
    speculation._token_seconds["ngram"] = token_seconds
    limits = dict.fromkeys(requests, MAX_DRAFT)
    num = len(requests)
    lengths = speculation._choose_lengths("ngram", limits, num_rows=num, num_decoding=num)
    return [lengths.get(request, 0) for request in requests]


def test_a_draft_is_as_long_as_makes_most_tokens_a_second() -> None:
    cheap = pace_of({1: 1.0, 25: 1.0 + 24 * 0.02})
    assert lengths_of(cheap, [0.99]) == [MAX_DRAFT]
    for probability in (0.1, 0.3, 0.5, 0.7, 0.9):
        for share in (0.02, 0.08, 0.29):
            pace = pace_of({1: 1.0, 25: 1.0 + 24 * share})
            rates = [
                sum(probability**depth for depth in range(length + 1)) / (1 + share * length)
                for length in range(MAX_DRAFT + 1)
            ]
            assert lengths_of(pace, [probability]) == [rates.index(max(rates))]
    stepped = pace_of({1: 1.0, 2: 1.5, 3: 1.5, 4: 1.5, 5: 4.0, 25: 30.0})  # the second row pays for the fourth
    assert lengths_of(stepped, [0.8]) == [3]


def test_none_is_drafted_where_it_does_not_pay() -> None:
    knee = pace_of({1: 1.0, 8: 1.2, 16: 1.4, 32: 2.8, 64: 5.6})
    assert lengths_of(knee, [0.6]) != [0]
    assert lengths_of(knee, [0.9] * 32) == [0] * 32  # each row costs as much as it could bring
    assert lengths_of(knee, [0.05]) == [1]
    assert lengths_of(knee, [0.01]) == [0]
    assert lengths_of(knee, [0.6], token_seconds=1.0) == [0]
    assert lengths_of(knee, [0.9], token_seconds=0.01) > [2]


def test_the_surer_request_gets_the_longer_draft() -> None:
    pace = pace_of({1: 1.0, 64: 4.0})
    sure, middling, hopeless = lengths_of(pace, [0.95, 0.6, 0.01])
    assert sure > middling > hopeless == 0


def test_success_is_learnt_and_forgotten() -> None:
    success = Success()
    assert success.probability == 0.5
    for _ in range(20):
        success.learn(0, 4)
    low = success.probability
    assert low < 0.2
    for _ in range(200):
        success.fade()
    assert success.probability == pytest.approx(0.5, abs=0.03)
    for _ in range(5):
        success.learn(8, 8)
    assert success.probability > 0.9


def test_what_rows_take_is_drawn_through_what_is_known() -> None:
    pace = Pace()
    assert pace.seconds_of_rows([1, 11]) == pytest.approx([1.0, 2.0])  # nothing but a guess
    pace = pace_of({2: 2.2})
    assert pace.seconds_of_rows([1, 2, 12]) == pytest.approx([2.0, 2.2, 4.2])
    pace = pace_of({2: 2.0, 4: 3.0, 12: 3.0})
    assert pace.seconds_of_rows([1, 2, 3, 4, 8, 12, 22]) == pytest.approx([1.9, 2.0, 2.5, 3.0, 3.0, 3.0, 4.0])
    assert pace_of({2: 1.0, 3: 3.0}).seconds_of_rows([1]) == pytest.approx([0.5])  # never nothing, however steep
    assert pace_of({2: 9.0, 4: 3.0}).seconds_of_rows([2, 4]) == [3.0, 3.0]  # measured while the machine was busy
    pace = pace_of({1: 1.0, 9: 9.0})
    for _ in range(600):  # a hasty measurement does not count for ever
        pace.measure(1.0, num_decoding=1, num_read=0)
    assert pace.seconds_of_rows([9])[0] == pytest.approx(1.8)


def test_a_slow_drafter_is_tried_again_later(models: list[Transformer], monkeypatch: pytest.MonkeyPatch) -> None:
    pace = pace_of({1: 1.0, 9: 1.1})
    speculation = Speculation(pace, vocab_size=VOCAB)
    speculation.drafters["ngram"] = Willing()
    clock = iter([0.0, 50.0, *[100.0] * 1000])
    monkeypatch.setattr("qwen7b.generate.speculation.time.perf_counter", lambda: next(clock))
    request = Request(ids=[1], max_length=99, speculate="ngram")
    steps = [bool(speculation.draft({request: 8}, num_rows=1, num_decoding=1)) for _ in range(600)]
    assert steps[0] and not any(steps[1:50]) and any(steps[50:])
