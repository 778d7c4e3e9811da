"""Requests are taken further together, and none can tell: not by the tokens it gets, nor by another's fault."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import count
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import tiny
from qwen7b.errors import PromptError, ResourceError, SettingError, UnsupportedError
from qwen7b.generate import Greedy, Sample
from qwen7b.generate.cache_memory import MAX_KEPT
from qwen7b.generate.engine import Engine
from qwen7b.generate.pace import Pace
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State, Token
from qwen7b.kernels import native
from qwen7b.model import Transformer
from random_packed import random_model
from stepping import count_read, interrupt_passes, step_on

VOCAB = 300
pytestmark = pytest.mark.skipif(native.library() is None, reason="only native kernels compute a row alike in any pass")


def engine_of(model: Transformer, **options: Any) -> Engine:
    return Engine(model, vocab_size=VOCAB, **options)


def run(engine: Engine, *requests: Request) -> list[list[int]]:
    for request in requests:
        engine.add(request)
    while engine.step():
        pass
    assert all(request.is_over and request.cache is None for request in requests) and not engine.slots.busy
    return [request.ids for request in requests]


def request_of(generator: random.Random, **settings: Any) -> Request:
    prompt = [generator.randrange(VOCAB) for _ in range(generator.choice([1, 3, 20, 70]))]
    sampling = generator.choice(
        [
            Greedy(),
            Greedy(repetition_penalty=1.3),
            Sample(seed=generator.randrange(99)),
            Sample(seed=generator.randrange(99), top_k=40, top_p=0.9, presence_penalty=0.5),
        ]
    )
    ntk = generator.choice(["recompute", "original", "reserve"])
    length = len(prompt) + generator.choice([1, 9, 30])
    return Request(**{"ids": prompt, "max_length": length, "sampling": sampling, "ntk": ntk, **settings})


def alone(model: Transformer, request: Request) -> list[int]:
    return run(engine_of(model), copy_of(request))[0]


def copy_of(request: Request, **changes: Any) -> Request:
    names = ("max_length", "sampling", "stop_ids", "processors", "forced", "logprobs", "ntk", "priority")
    settings = {name: getattr(request, name) for name in names}
    return Request(**{"ids": request.ids[: request.num_prompt], **settings, **changes})


def collect(tokens: list[Token], token: Token) -> bool:
    tokens.append(token)
    return False


@pytest.mark.parametrize("seed", range(16))
def test_a_reply_does_not_depend_on_its_company(model: Transformer, windowed: Transformer, seed: int) -> None:
    generator = random.Random(seed)
    model = windowed if seed % 2 else model
    requests = [request_of(generator, priority=generator.randrange(2)) for _ in range(generator.randrange(2, 9))]
    for follower in requests[::3]:  # one that begins as another does, in its reply too
        beginning = alone(model, follower)
        beginning = beginning[: generator.randrange(1, len(beginning) + 1)]
        requests.append(copy_of(follower, ids=beginning, max_length=len(beginning) + 9))
    expected = [alone(model, request) for request in requests]
    longest = max(request.max_length for request in requests)
    room = generator.choice([1, 2, 9]) * model.cache_bytes(capacity=longest + 256)
    engine = engine_of(model, max_bytes=room, max_running=generator.choice([1, 3, 64]))
    late = list(requests)
    while late or engine.step():
        while late and generator.random() < 0.3:
            engine.add(late.pop(0))
    assert [request.error for request in requests] == [None] * len(requests)
    assert [request.ids for request in requests] == expected


def test_the_youngest_gives_way_where_memory_is_short_and_is_read_again(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen7b.generate.slots._ROOM", 16)
    requests = [Request(ids=[n, 5, 6], max_length=120, sampling=Sample(seed=n)) for n in range(4)]
    expected = [alone(model, request) for request in requests]
    engine = engine_of(model, max_bytes=model.cache_bytes(capacity=200))
    states = set()
    for request in requests:
        engine.add(request)
    while engine.step():
        states.add(tuple(request.state for request in requests))
    decoding, waiting = State.DECODING, State.WAITING
    assert any(before[1] == decoding for before in states) and (decoding, waiting, waiting, waiting) in states
    assert [request.ids for request in requests] == expected


def test_scarce_memory_does_not_turn_work_into_reading_again(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen7b.generate.slots._ROOM", 8)
    requests = [request_of(random.Random(n), max_length=170, ntk="reserve") for n in range(8)]
    passes = count_read(monkeypatch)
    run(engine_of(model, max_bytes=2 * model.cache_bytes(capacity=176)), *requests)
    assert sum(map(sum, passes)) < 1.8 * sum(len(request.ids) for request in requests)


def test_nobody_starves_and_the_urgent_end_first(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others keep coming, memory is short, and still the oldest of each priority goes on."""
    monkeypatch.setattr("qwen7b.generate.slots._ROOM", 16)
    engine = engine_of(model, max_bytes=2 * model.cache_bytes(capacity=128), max_running=3)
    ended: list[Request] = []
    requests = [Request(ids=[n, 2], max_length=60 + n % 9, priority=n % 2, ntk="original") for n in range(40)]
    late = list(requests)
    while late or engine.step():
        for _ in range(2 if len(engine.admission.waiting) < 6 else 0):
            if late:
                engine.add(late.pop(0))
        ended += [request for request in requests if request.is_over and request not in ended]
    assert all(request.state is State.DONE for request in requests)
    for priority in (0, 1):
        order = [requests.index(request) for request in ended if request.priority == priority]
        assert all(index < later + 8 for place, index in enumerate(order) for later in order[place:])
    places = [ended.index(request) for request in requests[:6]]
    assert sum(places[1::2]) < sum(places[0::2])


def test_the_urgent_do_not_wait_for_a_prefix_that_others_keep_from_being_read(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "rows_within", lambda self, share, *, num_decoding: 24)
    generator, engine = random.Random(0), engine_of(model)
    prompt = [generator.randrange(VOCAB) for _ in range(250)]
    low, high = (Request(ids=list(prompt), max_length=255, priority=priority) for priority in (-5, 5))
    engine.add(Request(ids=[1], max_length=300))
    engine.step()
    engine.add(low)
    engine.step()
    engine.add(high)
    for number in range(40):  # those between the two take all the time there is for reading
        engine.add(Request(ids=[number, *prompt[:30]], max_length=36))
        engine.step()
    assert high.is_over and low.state is State.READING


def test_what_is_known_is_not_read_again(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = list(range(100))
    settings: dict[str, Any] = {"ids": prompt, "max_length": 110, "sampling": Sample(seed=1), "ntk": "reserve"}
    expected = alone(model, Request(**settings | {"ids": list(prompt)}))
    engine, passes = engine_of(model), count_read(monkeypatch)
    run(engine, Request(**settings | {"ids": prompt[:80]}))
    passes.clear()
    assert run(engine, Request(**settings | {"ids": list(prompt)})) == [expected]
    assert passes[0] == [20]
    passes.clear()
    samples = [Request(**settings | {"ids": list(prompt), "sampling": Sample(seed=n)}) for n in range(8)]
    assert run(engine_of(model), *samples) == [alone(model, sample) for sample in samples]
    assert [sum(rows) for rows in passes[:2]] == [100, 8]  # one reads for all


def test_another_alpha_or_a_ring_that_has_wound_around_is_no_use(
    model: Transformer, windowed: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = Request(ids=[1] * 20, max_length=22), Request(ids=[1] * 60, max_length=62)
    expected = alone(model, long)
    engine, passes = engine_of(model), count_read(monkeypatch)
    assert run(engine, short, long)[1] == expected
    assert any(60 in rows for rows in passes)
    monkeypatch.undo()
    ids = [n % VOCAB for n in range(1500)]
    engine = engine_of(windowed)
    for length in (1500, 100, 1400):
        request = Request(ids=ids[:length], max_length=length + 9, ntk="original")
        expected = alone(windowed, request)
        assert run(engine, request) == [expected]


def test_weights_that_changed_make_what_is_known_worthless(model: Transformer) -> None:
    model = random_model()
    engine, request = engine_of(model), Request(ids=list(range(50)), max_length=60)
    run(engine, copy_of(request))
    with torch.no_grad():
        model.layers[0].attention_norm.weight.mul_(3.0)  # in place
    assert run(engine, copy_of(request)) == [alone(model, request)]
    model.layers[1].feed_forward = random_model().layers[1].feed_forward
    assert run(engine, copy_of(request)) == [alone(model, request)]
    model.cache_dtype = torch.float16
    assert run(engine, copy_of(request)) == [alone(model, request)]


def in_place(model: Transformer) -> None:
    with torch.no_grad():
        model.norm.weight.mul_(3.0)


def in_inference_mode(model: Transformer) -> None:
    with torch.inference_mode():
        model.norm.weight.mul_(3.0)


def by_an_optimizer(model: Transformer) -> None:
    model(torch.tensor([[1, 2, 3]])).sum().backward()
    torch.optim.AdamW(model.parameters()).step()


def out_of_sight(model: Transformer) -> None:
    model.norm.weight.data.mul_(3.0)
    torch.autograd.graph.increment_version(model.parameters())  # as docs/usage.md says


CHANGES: dict[str, Callable[[Transformer], object]] = {
    "in place": in_place,
    "in inference mode": in_inference_mode,
    "an optimizer": by_an_optimizer,
    "load_state_dict": lambda model: model.load_state_dict(model.state_dict()),
    "load_state_dict, assigned": lambda model: model.load_state_dict(deepcopy(model.state_dict()), assign=True),
    "to another dtype": lambda model: model.to(torch.bfloat16),
    "there and back": lambda model: model.half().float(),
    ".data": out_of_sight,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_weights_are_noticed(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model()
    engine, request = engine_of(model), Request(ids=list(range(20)), max_length=22)
    run(engine, copy_of(request))
    passes = count_read(monkeypatch)
    run(engine, copy_of(request))
    assert passes == [[1], [1]]  # what is known is not read again
    CHANGES[change](model)
    passes.clear()
    run(engine, copy_of(request))
    assert passes == [[20], [1]]


def test_weights_that_change_during_a_reply_spoil_no_later_one() -> None:
    model = random_model()
    engine, request = engine_of(model), Request(ids=list(range(50)), max_length=70)
    running = copy_of(request)
    engine.add(running)
    for _ in range(9):
        engine.step()
    with torch.no_grad():
        model.layers[0].attention_norm.weight.mul_(3.0)
    expected = alone(model, request)
    assert run(engine, copy_of(request)) == [expected]
    assert running.state is State.DONE and run(engine, copy_of(request)) == [expected]
    engine.add(copy_of(request))
    engine.step()
    model.cache_dtype = torch.float16
    assert run(engine, copy_of(request)) == [alone(model, request)]


def test_a_long_prompt_stalls_nobody(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(model)
    decoding = [Request(ids=[n], max_length=300, ntk="reserve") for n in range(3)]
    long = Request(ids=[7] * 350, max_length=351, ntk="reserve")
    for request in decoding:
        engine.add(request)
    for _ in range(4):
        engine.step()
    engine.add(long)
    pace = engine.scheduler.pace = Pace()
    pace.measure(0.065, num_decoding=3, num_read=0)
    pace.measure(0.065 + 0.02, num_decoding=3, num_read=10)
    monkeypatch.setattr(Pace, "measure", lambda *_, **__: None)
    passes = count_read(monkeypatch)
    while long.state in (State.WAITING, State.READING):
        before = [len(request.ids) for request in decoding]
        engine.step()
        assert [len(request.ids) for request in decoding] == [length + 1 for length in before]
    assert passes[0] == [1, 1, 1, 16] and len(passes) == 22
    prompts = [[20 + number] * 40 for number in range(9)]
    for prompt in prompts:
        engine.add(Request(ids=prompt, max_length=42, ntk="reserve", priority=-1))
    engine.step()
    assert sum(passes[-1][3:]) == 16  # they come behind those that decode, however many they are
    for prompt in prompts:
        engine.add(Request(ids=prompt[1:], max_length=42, ntk="reserve"))
    engine.step()
    assert sum(passes[-1][3:]) == 512  # many wait for each that decodes


def test_reading_takes_a_share_of_the_time_that_decoding_does() -> None:
    pace = Pace()
    pace.measure(1.024, num_decoding=0, num_read=512)
    assert pace.rows_within(1.0, num_decoding=8) == 16  # how long those that decode take is not known yet
    pace.measure(0.2, num_decoding=8, num_read=16)
    assert pace.rows_within(1.0, num_decoding=8) == 0  # a step without prompts will tell
    pace.measure(0.1, num_decoding=8, num_read=0)
    assert pace.rows_within(1.0, num_decoding=8) == 50  # rows of 0.002 s
    pace = Pace()
    pace.measure(0.1, num_decoding=8, num_read=0)
    assert pace.rows_within(1.0, num_decoding=8) == 16  # how long a row of a prompt takes is not known yet
    pace.measure(0.3, num_decoding=8, num_read=20)
    assert [pace.rows_within(share, num_decoding=8) for share in (1.0, 0.5, 0.01)] == [10, 5, 1]
    for _ in range(100):  # another length, another machine's load
        pace.measure(0.2, num_decoding=8, num_read=0)
        pace.measure(0.3, num_decoding=8, num_read=20)
    assert pace.rows_within(1.0, num_decoding=8) == 39
    pace.measure(0.4, num_decoding=24, num_read=0)
    assert pace.rows_within(1.0, num_decoding=16) == 59  # between the two


def test_a_slower_step_of_decoding_requests_does_not_shrink_what_is_read_beside_them() -> None:
    pace, seconds, counts = Pace(), 0.1, list[int]()
    pace.measure(seconds, num_decoding=8, num_read=0)
    pace.measure(seconds + 16 * 0.005, num_decoding=8, num_read=16)
    for _ in range(600):  # their sequences grow, so that each step takes longer
        seconds += 0.0005
        counts.append(pace.rows_within(1.0, num_decoding=8))
        pace.measure(seconds + counts[-1] * 0.005, num_decoding=8, num_read=counts[-1])
    assert counts.count(0) == 600 // 17  # steps that measure those that decode alone
    assert counts[-2] > 50 and min(count for count in counts if count) > 10


def test_what_few_requests_took_long_ago_does_not_shrink_it_either() -> None:
    pace, counts = Pace(), list[int]()
    pace.measure(0.05, num_decoding=4, num_read=0)
    pace.measure(0.1, num_decoding=8, num_read=0)
    pace.measure(0.1 + 16 * 0.005, num_decoding=8, num_read=16)
    for step in range(600):  # half of them end, and the others' sequences have grown since four were measured
        num_decoding, seconds = (8, 0.1 + 0.0005 * step) if step < 300 else (4, 0.3)
        counts.append(pace.rows_within(1.0, num_decoding=num_decoding))
        pace.measure(seconds + counts[-1] * 0.005, num_decoding=num_decoding, num_read=counts[-1])
    assert counts[299] > 35 and counts[-1] > 25  # of 50 and 60, were the newest measurement the only one
    assert min(count for count in counts if count) > 5


def test_a_new_alpha_is_read_for_while_others_go_on(model: Transformer) -> None:
    trained = model.config.trained_length
    engine = engine_of(model)
    crossing = Request(ids=[3] * (4 * trained - 3), max_length=4 * trained + 5)
    other = Request(ids=[5], max_length=100, ntk="original")
    expected = [alone(model, request) for request in (crossing, other)]
    for request in (crossing, other):
        engine.add(request)
    states = []
    while not crossing.is_over:
        length = len(other.ids)
        engine.step()
        assert other.is_over or len(other.ids) == length + 1
        states.append(crossing.state)
    assert State.READING in states[states.index(State.DECODING) :]
    while engine.step():
        pass
    assert [crossing.ids, other.ids] == expected


def test_processors_change_one_request_s_logits(model: Transformer) -> None:
    request = Request(ids=[1, 2], max_length=12)
    ids = alone(model, request)

    def forbid(seen: Sequence[int], logits_V: Tensor) -> Tensor:
        assert len(logits_V) == VOCAB
        logits_V[ids[len(seen)]] = -torch.inf
        return logits_V

    def only(seen: Sequence[int], logits_V: Tensor) -> Tensor:
        changed_V = torch.full_like(logits_V, -torch.inf)
        changed_V[len(seen)] = 1.0
        return changed_V

    def clear(seen: Sequence[int], logits_V: Tensor) -> Tensor:
        cast("list[int]", seen).clear()  # its own list
        return logits_V

    assert run(engine_of(model), copy_of(request, processors=[clear])) == [ids]
    others = (
        copy_of(request, processors=[forbid], max_length=3),
        copy_of(request, processors=[forbid, only], logprobs=2),
    )
    plain, forbidden, counted = run(engine_of(model), copy_of(request), *others)
    assert plain == ids and forbidden[2] != ids[2] and counted[2:] == list(range(2, 12))


def test_forced_ids_go_in_without_being_picked(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = list(range(100, 130))

    def forced(ids: Sequence[int]) -> Sequence[int]:
        return answer if len(ids) == 3 else []

    request = Request(ids=[1, 2], max_length=40, sampling=Sample(seed=3), forced=forced, ntk="reserve")
    tokens: list[Token] = []
    scored = copy_of(request, logprobs=0)
    scored.on_token = lambda token: collect(tokens, token)
    passes = count_read(monkeypatch)
    ids, scored_ids = run(engine_of(model), request, scored)
    assert ids == scored_ids and ids[3:33] == answer and passes[1] == [31, 1]
    expected = alone(model, Request(ids=ids[:33], max_length=40, ntk="reserve"))
    assert len(expected) == 40 and len(tokens) == 38
    with torch.inference_mode():
        logits_TV = model(torch.tensor([ids]), cache=model.new_cache(max_length=40, ntk="reserve"))[0, :, :VOCAB]
    logprobs = logits_TV.log_softmax(-1)
    for token, position in zip(tokens[1:31], range(3, 33), strict=True):
        assert token.logprob is not None and token.id == ids[position]
        assert token.logprob.logprob == pytest.approx(float(logprobs[position - 1, token.id]), abs=1e-3)


def test_stop_ids_and_the_caller_end_a_request(model: Transformer) -> None:
    request = Request(ids=[1, 2], max_length=30, sampling=Sample(seed=5))
    ids = alone(model, request)
    tokens: list[Token] = []
    stopped = copy_of(request, stop_ids=frozenset(ids[9:10]))
    told = copy_of(request)
    told.on_token = lambda token: collect(tokens, token) or len(tokens) == 5
    stopped_ids, told_ids = run(engine_of(model), stopped, told)
    assert stopped_ids == ids[: ids.index(ids[9], 2) + 1] and told_ids == ids[:7]
    assert [token.id for token in tokens] == ids[2:7]


def test_hidden_states_are_told_once_each(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [n * 7 % VOCAB for n in range(90)]
    with torch.inference_mode():
        cache = model.new_cache(max_length=90)
        cache.plan([90])
        expected = model.hidden(torch.tensor([ids]), cache=cache)[0]
    monkeypatch.setattr("qwen7b.model.sequence_cache.MAX_PASS_TOKENS", 32)
    told: dict[int, Tensor] = {}

    def on_hidden(start: int, hidden_TC: Tensor) -> None:
        told.update(enumerate(hidden_TC, start=start))

    engine = engine_of(model)
    request = Request(ids=list(ids), max_length=90, on_hidden=on_hidden, hidden_from=40)
    assert run(engine, request) == [ids] and request.state is State.DONE
    assert list(told) == list(range(40, 90))
    assert all(torch.equal(hidden, expected[position]) for position, hidden in told.items())


def test_a_thousand_requests_are_cancelled_and_none_is_lost(model: Transformer) -> None:
    generator, engine = random.Random(0), engine_of(model)
    requests: list[Request] = []
    while len(requests) < 1000 or any(not request.is_over for request in requests):
        for _ in range(generator.randrange(30) if len(requests) < 1000 else 0):
            requests.append(Request(ids=[generator.randrange(VOCAB)] * generator.choice([1, 9]), max_length=14))
            engine.add(requests[-1])
        cancelled = [request for request in requests if not request.is_over and generator.random() < 0.2]
        for request in cancelled:
            engine.cancel(request)
        engine.step()
        assert all(request.is_over and request.cache is None for request in cancelled)
        running = [request for request in requests if request.cache]
        assert len(engine.slots.busy) == len(running) and all(not request.is_over for request in running)
    assert {request.state for request in requests} == {State.DONE, State.CANCELLED}
    assert not engine.slots.busy and len(engine.slots.kept) <= MAX_KEPT and not engine.step()


def test_what_fails_fails_alone(model: Transformer) -> None:
    def broken(ids: Sequence[int], logits_V: Tensor) -> Tensor:
        if len(ids) > 4:
            raise ZeroDivisionError("of the processor")
        return logits_V

    def masked(ids: Sequence[int], logits_V: Tensor) -> Tensor:
        return torch.full_like(logits_V, -torch.inf)

    def bad(token: Token) -> bool:
        raise KeyError("of the listener")

    sound = Request(ids=[1, 2], max_length=20, sampling=Sample(seed=1))
    expected = alone(model, sound)
    failing = {
        ZeroDivisionError: copy_of(sound, processors=[broken]),
        SettingError: copy_of(sound, processors=[masked]),
        KeyError: copy_of(sound),
    }
    failing[KeyError].on_token = bad
    told: list[Exception] = []
    for request in failing.values():
        request.on_error = told.append
    never = copy_of(sound, sampling=Sample(seed=1, logit_bias={VOCAB: 1.0}))
    assert run(engine_of(model), *failing.values(), never, sound)[-1] == expected
    for kind, request in failing.items():
        assert request.state is State.FAILED and isinstance(request.error, kind)
    assert len(told) == 3 and isinstance(never.error, SettingError) and "token id 300" in str(never.error)
    reading = copy_of(sound, on_hidden=lambda start, hidden_TC: [][start])
    run(engine_of(model), reading)
    assert reading.state is State.FAILED and isinstance(reading.error, IndexError)
    broken_model = random_model()
    broken_model.head.matrix.scales.fill_(torch.inf)
    request = copy_of(sound)
    run(engine_of(broken_model), request)
    assert isinstance(request.error, UnsupportedError)


@pytest.mark.parametrize(("speculate", "end"), [(None, KeyboardInterrupt), ("ngram", SystemExit)])
@pytest.mark.parametrize("function", ["on_token", "forced", "processors", "on_prompt"])
def test_whoever_raises_what_ends_a_program_changes_no_neighbour(
    model: Transformer, function: str, speculate: str | None, end: type[BaseException]
) -> None:
    requests = [
        Request(ids=[n, 4, n, 4, n], max_length=22, sampling=Sample(seed=n, temperature=0.2), speculate=speculate)
        for n in range(4)
    ]
    expected = [alone(model, request) for request in requests]
    numbers = count()

    def raising(*args: Any) -> Any:
        if next(numbers) % 3 == 0:
            raise end
        return {"on_token": False, "forced": []}.get(function, args[-1])

    one = requests[2]
    if function == "on_prompt":
        one = requests[2] = copy_of(one, ids=[5] * 1100, max_length=1110)
        expected[2] = alone(model, one)
    setattr(one, function, [raising] if function == "processors" else raising)
    engine = engine_of(model)
    for request in requests:
        engine.add(request)
    step_on(engine, despite=end)
    assert next(numbers) > 2
    assert [request.ids for request in requests] == expected


def test_an_error_of_the_model_fails_who_is_in_the_pass(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, request = engine_of(model), Request(ids=[1, 2], max_length=20)
    with monkeypatch.context() as patch:
        patch.setattr(Transformer, "passes", lambda *_, **__: 1 / 0)
        first = copy_of(request)
        run(engine, first)
    assert isinstance(first.error, ZeroDivisionError)
    assert run(engine, copy_of(request)) == [alone(model, request)]


@pytest.mark.parametrize("interrupted", ["passes", "logits"])
def test_an_interrupt_costs_the_step_only(
    model: Transformer, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    requests = [Request(ids=[n, 4], max_length=40, sampling=Sample(seed=n)) for n in range(3)]
    expected = [alone(model, request) for request in requests]
    if interrupted == "passes":
        interrupt_passes(monkeypatch, every=3)
    else:
        numbers, original = count(), Engine.logits_of

        def logits_of(self: Engine, *arguments: Any) -> Tensor:
            if next(numbers) % 3 == 0:
                raise KeyboardInterrupt
            return original(self, *arguments)

        monkeypatch.setattr(Engine, "logits_of", logits_of)
    engine = engine_of(model)
    for request in requests:
        engine.add(request)
    step_on(engine)
    assert [request.ids for request in requests] == expected


def test_where_memory_was_taken_by_others_each_request_fails_by_itself(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [Request(ids=[n, 5, 6], max_length=500) for n in range(3)]
    monkeypatch.setattr("qwen7b.generate.cache_memory.available_bytes", lambda device: 0)
    run(engine_of(model, max_bytes=10**9), *requests)
    assert [str(request.error).split(",")[0] for request in requests] == ["a cache of 3 tokens needs 0.0 GB"] * 3
    engine, held = engine_of(model, max_bytes=10**9), []

    def left(device: torch.device) -> int:
        held.append(sum(cache.num_bytes for cache in (*engine.slots.busy, *engine.slots.kept)))
        return 10**9 if len(held) <= 2 else max(held) - held[-1]  # others have taken all but the caches' own

    monkeypatch.setattr("qwen7b.generate.cache_memory.available_bytes", left)
    first, second = Request(ids=[1], max_length=900), Request(ids=[2], max_length=270)
    run(engine, first, second)
    assert isinstance(first.error, ResourceError) and second.state is State.DONE


def test_requests_that_cannot_run_are_refused(model: Transformer) -> None:
    for ids, length in (([], 9), ([1, 2], 2)):
        with pytest.raises(PromptError):
            Request(ids=ids, max_length=length)
    engine = engine_of(model, max_bytes=10**6)
    with pytest.raises(SettingError, match="there is no adapter 'mine'"):
        engine.add(Request(ids=[1], max_length=9, adapter="mine"))
    with pytest.raises(ResourceError, match=r"a cache of 100000 tokens needs [\d.]+ GB, but 0.0 GB are free for it"):
        engine.add(Request(ids=[1], max_length=100_000))
    assert not engine.step()


@pytest.mark.parametrize("wrong", [320, -1, 1.5, "a", None])
def test_ids_that_the_model_does_not_have_harm_no_neighbour(model: Transformer, wrong: Any) -> None:
    engine = engine_of(model)
    with pytest.raises(SettingError, match="from 0 to 319, found"):
        engine.add(Request(ids=[1, wrong], max_length=9))
    forcing = Request(ids=[1, 2], max_length=9, forced=lambda ids: [wrong] if len(ids) == 4 else [])
    neighbour = Request(ids=[1, 2, 3], max_length=20)
    run(engine, neighbour, forcing)
    assert neighbour.ids == alone(model, neighbour)
    assert isinstance(forcing.error, SettingError) and len(forcing.ids) == 4


@pytest.mark.parametrize("sampling", [Greedy(repetition_penalty=1.3), Greedy(frequency_penalty=0.5)], ids=str)
def test_rows_of_the_model_that_are_no_tokens_have_no_penalty(model: Transformer, sampling: Greedy) -> None:
    """Padding rows may stand in a prompt, or be forced, and are never picked."""
    padding = model.config.vocab_rows - 1
    engine = Engine(model, vocab_size=padding - 3)
    forced = Request(
        ids=[1, 2, padding],
        max_length=9,
        sampling=sampling,
        forced=lambda ids: [padding] if len(ids) == 4 else [],
        logprobs=0,
    )
    penalized = Request(ids=[1, 2, padding], max_length=9, sampling=sampling)
    neighbour = Request(ids=[1, 2, 3], max_length=20)
    run(engine, penalized, neighbour, forced)
    assert len(penalized.ids) == 9 and len(neighbour.ids) == 20
    assert forced.error is not None and len(forced.ids) == 4  # its log-probability is not known


def test_forced_ids_without_an_end_fill_the_sequence(model: Transformer) -> None:
    request = Request(ids=[1, 2], max_length=9, forced=lambda ids: itertools.repeat(5))  # type: ignore[return-value]
    assert run(engine_of(model), request)[0][3:] == [5] * 6


def test_whoever_cannot_be_told_of_an_error_harms_no_neighbour(model: Transformer) -> None:
    def fail(*_: object) -> bool:
        raise ValueError("first")

    def fail_again(error: Exception) -> None:
        raise RuntimeError("second")

    failing = Request(ids=[1, 2], max_length=9, on_token=fail, on_error=fail_again)
    neighbour = Request(ids=[1, 2, 3], max_length=20)
    run(engine_of(model), failing, neighbour)
    assert neighbour.ids == alone(model, neighbour)
    assert isinstance(failing.error, ValueError) and "second" in failing.error.__notes__[0]


def test_a_processor_returns_floats(model: Transformer) -> None:
    request = Request(ids=[1, 2], max_length=9, processors=[lambda ids, logits_V: logits_V > 0])
    run(engine_of(model), request)
    assert isinstance(request.error, SettingError) and "as floats" in str(request.error)
