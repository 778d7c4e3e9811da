"""Scores are those of each continuation by itself, though what texts share is read once; embeddings are means."""

from __future__ import annotations

import copy
import math
import random
import threading
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import qwen7b
from qwen7b import Greedy, Qwen, Score
from qwen7b.errors import PromptError, UnsupportedError
from qwen7b.generate import scoring
from qwen7b.generate.cache_memory import MAX_KEPT
from qwen7b.generate.request import Request
from qwen7b.generate.scoring import ScoredSequence, Scoring
from qwen7b.kernels import native
from qwen7b.model import Transformer
from qwen7b.text import Tokenizer
from random_packed import random_model

needs_kernels = pytest.mark.skipif(
    native.library() is None, reason="only native kernels compute a row alike in any pass"
)
Pairs = tuple[list[list[int]], list[list[list[int]]]]


@pytest.fixture(scope="module")
def tokenizer(tiny_chat_checkpoint: Path) -> Tokenizer:
    return qwen7b.load_tokenizer(tiny_chat_checkpoint)


@pytest.fixture(scope="module")
def floats(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="none")


@pytest.fixture
def packed(tokenizer: Tokenizer) -> Qwen:
    torch.manual_seed(1)
    return Qwen(random_model(trained_length=100, context_length=1500), tokenizer)


def ids_of(generator: random.Random, count: int) -> list[int]:
    return [generator.randrange(260) for _ in range(count)]


def shots(
    *, common: int = 200, questions: int = 6, own: Sequence[int] = (40,), choices: Sequence[int] = (1, 1, 1, 1)
) -> Pairs:
    """Questions of so many tokens behind a common beginning, with answers of so many tokens each."""
    generator = random.Random(0)
    beginning = ids_of(generator, common)
    contexts = [beginning + ids_of(generator, own[number % len(own)]) for number in range(questions)]
    return contexts, [[ids_of(generator, count) for count in choices] for _ in contexts]


def alone(qwen: Qwen, context: Sequence[int], continuation: Sequence[int]) -> Score:
    """One pass over a sequence, without the engine."""
    model, ids = qwen.model, [*context, *continuation]
    with torch.inference_mode():
        cache = model.new_cache(max_length=len(ids), ntk="reserve")
        hidden_TC = model.hidden(torch.tensor([ids[:-1]]), cache=cache)[0, len(context) - 1 :]
        logits_TV = model.head(hidden_TC)[:, : qwen.tokenizer.vocab_size]
        assert not qwen.tokenizer.unused_ids
        logprobs = [float(row[i] - row.logsumexp(0)) for row, i in zip(logits_TV, continuation, strict=True)]
        is_greedy = logits_TV.argmax(-1).tolist() == list(continuation)
    return Score(
        logprob=math.fsum(logprobs),
        token_ids=tuple(continuation),
        token_logprobs=tuple(logprobs),
        is_greedy=is_greedy,
    )


def all_alone(qwen: Qwen, pairs: Pairs) -> list[list[Score]]:
    return [[alone(qwen, context, choice) for choice in choices] for context, choices in zip(*pairs, strict=True)]


def count_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each pass from now on."""
    rows, original = [], Transformer.passes

    def counted(self: Transformer, new_ids: Sequence[Tensor], **options: Any) -> Any:
        rows.append(sum(map(len, new_ids)))
        return original(self, new_ids, **options)

    monkeypatch.setattr(Transformer, "passes", counted)
    return rows


@needs_kernels
@pytest.mark.parametrize("own", [(40,), (3, 90, 17), (400,)])
@pytest.mark.parametrize("choices", [(1, 1, 1, 1), (5, 1, 3), (30, 2)])
def test_scores_are_those_of_each_by_itself(packed: Qwen, own: Sequence[int], choices: Sequence[int]) -> None:
    pairs = shots(own=own, choices=choices)
    assert packed.score(*pairs) == all_alone(packed, pairs)


@needs_kernels
@pytest.mark.parametrize("seed", range(6))
def test_any_sequences_in_any_order_are_scored_as_alone(tokenizer: Tokenizer, seed: int) -> None:
    generator = random.Random(seed)
    windows = (40, 0) if seed % 2 else None
    qwen = Qwen(random_model(trained_length=24, context_length=900, attention_windows=windows), tokenizer)
    roots = [ids_of(generator, 700) for _ in range(2)]
    contexts, continuations = [], []
    for _ in range(8):  # some begin as others do and end somewhere in them, cross alphas, wind rings around
        root, length = generator.choice(roots), generator.choice([1, 2, 23, 24, 25, 60, 300, 690])
        contexts.append(root[:length] + generator.choice([[], [7, 8]]))
        ends = [generator.randrange(1, 9) for _ in range(generator.randrange(1, 4))]
        continuations.append([root[length : length + end] for end in ends])
    pairs = contexts, continuations
    expected = all_alone(qwen, pairs)
    if seed % 3 == 0:  # one at a time fits
        qwen._shared.engine.slots.max_bytes = qwen.model.cache_bytes(capacity=720)
    assert qwen.score(*pairs) == expected


def test_of_floats_they_are_the_same_but_for_noise(floats: Qwen) -> None:
    pairs = shots(common=80, choices=(1, 4, 2))
    for scores, expected in zip(floats.score(*pairs), all_alone(floats, pairs), strict=True):
        for score, other in zip(scores, expected, strict=True):
            assert score.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)
            assert score.logprob == pytest.approx(sum(score.token_logprobs))
            assert (score.token_ids, score.is_greedy) == (other.token_ids, other.is_greedy)


@needs_kernels
def test_what_is_shared_is_read_once(packed: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = shots(questions=10)
    rows = count_rows(monkeypatch)
    packed.score(*pairs)
    assert sum(rows) == 200 + 10 * 40  # a single token's probability needs no reading of it
    rows.clear()
    packed.score(*shots(questions=1, choices=(1, 1)))
    assert sum(rows) <= 41
    for choices in ((5, 3, 9, 5), (2, 2, 2, 2)):
        other = copy.copy(packed)
        contexts, continuations = shots(questions=10, choices=choices)
        rows.clear()
        other.score(contexts, continuations)
        ends = sum(len(choice) - 1 for own in continuations for choice in own)
        # Each answer but a context's first reads the context's last token again, for what comes first in it.
        assert sum(rows) == 200 + 10 * 40 + ends + 10 * 3


@needs_kernels
def test_caches_go_from_one_to_the_next(packed: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    made, original = [], Transformer.new_sequence_cache

    def count(self: Transformer, **options: Any) -> Any:
        made.append(options)
        return original(self, **options)

    monkeypatch.setattr(Transformer, "new_sequence_cache", count)
    packed.score(*shots(questions=80))
    assert 2 <= len(made) <= 512 // 40 + 2
    assert len(packed._shared.engine.slots.kept) <= MAX_KEPT


@needs_kernels
def test_few_are_under_way_and_all_are_scored(packed: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen7b.generate.hidden_states._MAX_UNDER_WAY", 3)
    engine, largest = packed._shared.engine, 0
    original = engine.add

    def add(request: Request) -> None:
        nonlocal largest
        original(request)
        largest = max(largest, len(engine._arrived) + len(engine.admission.waiting) + len(engine.admission.running))

    monkeypatch.setattr(engine, "add", add)
    pairs = shots(common=3, questions=150, own=(1, 2, 5))
    assert packed.score(*pairs) == all_alone(packed, pairs)
    assert largest == 3


def test_scores_are_told_while_others_are_read(packed: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = [ScoredSequence(array("i", [index, index, 1]), 2) for index in range(200)]
    expected = dict(Scoring(packed._shared, sequences).stream())
    monkeypatch.setattr(scoring, "HEAD_ROWS", 1000)
    monkeypatch.setattr(scoring, "_MAX_WAIT", -1.0)
    stream = Scoring(packed._shared, sequences).stream()
    added: list[Request] = []
    add = packed._shared.add

    def count_and_add(request: Request) -> None:
        added.append(request)
        add(request)

    monkeypatch.setattr(packed._shared, "add", count_and_add)
    told = [next(stream)]
    assert len(added) < len(sequences)
    assert dict([*told, *stream]) == expected


@needs_kernels
def test_a_long_continuation_is_scored_as_it_is_read(packed: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ids_of(random.Random(3), 1300)
    expected = alone(packed, ids[:1], ids[1:])
    reported: list[int] = []
    monkeypatch.setattr(scoring, "HEAD_ROWS", 100)
    rows = count_rows(monkeypatch)
    stream = Scoring(packed._shared, [ScoredSequence(array("i", ids), 1)], report=reported.append).stream()
    assert next(stream) == (0, expected)
    assert rows == [512, 512, 275] and reported == [100] * 12 + [99] and not list(stream)


def test_the_greedy_reply_is_the_greedy_choice(floats: Qwen) -> None:
    settings: dict[str, Any] = {"sampling": Greedy(logit_bias=dict.fromkeys(floats.stop_ids, -math.inf)), "logprobs": 1}
    prompt = floats.tokenizer.encode("in the hell")
    reply = floats.complete("in the hell", max_new_tokens=12, **settings)
    other = [*reply.token_ids[:-1], (reply.token_ids[-1] + 1) % 200]
    ((greedy, not_greedy),) = floats.score([prompt], [[reply.token_ids, other]])
    assert reply.logprobs is not None
    assert greedy.token_logprobs == pytest.approx([entry.logprob for entry in reply.logprobs], abs=1e-4)
    assert greedy.is_greedy == all(entry.token_id == entry.top[0][0] for entry in reply.logprobs)
    assert not not_greedy.is_greedy and not_greedy.logprob < greedy.logprob
    assert greedy.token_logprobs[:-1] == pytest.approx(not_greedy.token_logprobs[:-1], abs=1e-4)


def test_rows_past_the_vocabulary_have_no_share(floats: Qwen) -> None:
    model = copy.deepcopy(floats.model)
    with torch.no_grad():
        model.head.weight[floats.tokenizer.vocab_size :] *= 50
    (expected,), (found,) = (qwen.score(["the hell"], [[" in"]]) for qwen in (floats, Qwen(model, floats.tokenizer)))
    assert found[0].logprob == pytest.approx(expected[0].logprob, abs=1e-5)


def test_context_and_continuation_are_one_text(floats: Qwen) -> None:
    def tokens(context: Any, continuation: Any) -> list[str]:
        (scores,) = floats.score([context], [[continuation]])
        return [floats.tokenizer.decode([token_id]) for token_id in scores[0].token_ids]

    encode = floats.tokenizer.encode
    assert tokens("in", " tin") == tokens("in ", "tin") == [" t", "in"]  # as a space and a "t" are one token
    assert tokens("in he", "ll") == ["hell"]  # the token over the seam is the continuation's
    assert tokens(encode("in he"), "ll") == tokens("in he", encode("ll")) == ["ll"]
    assert tokens(encode("in he"), encode("ll")) == ["ll"]
    assert tokens("in e", "\u0301x") == ["\ufffd", "\ufffd", "x"]  # é by NFC, in two bytes
    for pairs in (("in", " t"), ("in he", "ll")):
        (joined,), (given,) = (
            floats.score([context], [[continuation]])
            for context, continuation in (pairs, (encode("".join(pairs))[:-1], encode("".join(pairs))[-1:]))
        )
        assert joined[0].token_logprobs[-1] == pytest.approx(given[0].logprob, abs=1e-4)


def test_control_tokens_are_such_where_they_are_asked_for(floats: Qwen) -> None:
    text = "<|im_start|>user\nhell"
    with pytest.raises(PromptError, match=r"control token <\|im_start\|>.*control_tokens=True"):
        floats.score([text], [["<|im_end|>"]])
    ((control,),) = floats.score([text], [["<|im_end|>"]], control_tokens=True)
    ((plain,),) = floats.score([text], [["<|im_end|>"]], control_tokens=False)
    assert control.token_ids == (floats.tokenizer.im_end_id,) and len(plain.token_ids) > 1
    with pytest.raises(PromptError, match="control token"):
        floats.embed([text])


def test_an_empty_context_is_bos(floats: Qwen) -> None:
    with pytest.raises(PromptError, match=r"continuations\[0\]\[0\] has no token before it"):
        floats.score([""], [["the"]])
    vocabulary = floats.tokenizer.vocabulary
    settings = replace(vocabulary.settings, bos="<|endoftext|>")
    qwen = Qwen(floats.model, Tokenizer(replace(vocabulary, settings=settings)))
    the = qwen.tokenizer.encode("the")
    expected = alone(qwen, [qwen.tokenizer.bos_id or 0], the)
    for context, continuation in (("", "the"), ("", the), ([], the)):
        ((score,),) = qwen.score([context], [[continuation]])
        assert score.token_ids == tuple(the) and score.logprob == pytest.approx(expected.logprob, abs=1e-4)
    ((behind_text,), (behind_ids,)) = qwen.score(["in", qwen.tokenizer.encode("in")], [[" the"], [" the"]])
    assert behind_text.logprob != pytest.approx(behind_ids.logprob, abs=1e-4)  # ids are taken as they are


def test_nothing_to_score_has_no_scores(floats: Qwen) -> None:
    assert floats.score([], []) == [] and floats.score(["the"], [[]]) == [[]]
    assert floats.embed([]).shape == (0, floats.config.hidden_size)


@pytest.mark.parametrize(
    ("contexts", "continuations", "message"),
    [
        ("the", [["x"]], "contexts must be a list of texts, found 'the'"),
        (["the"], "x", "continuations must be a list of lists, one for each context, found 'x'"),
        (["the"], ["x"], r"continuations\[0\] must be a list of texts, found 'x'"),
        (["the"], [{"x": 1}], r"continuations\[0\] must be a list of texts, found {'x': 1}"),
        (["the", "in"], [["x"]], "found 2 contexts and 1 list"),
        (["the"], [["x", ""]], r"continuations\[0\]\[1\] is empty"),
        (["the"], [[[]]], r"continuations\[0\]\[0\] is empty"),
        (["the"], [[5]], r"continuations\[0\]\[0\] must be a list of token ids, or a string, found 5"),
        ([[1, 300]], [["x"]], r"contexts\[0\] has 300 among its token ids: .* below 269"),
        ([[1, "x"]], [["x"]], r"contexts\[0\] has 'x' among its token ids"),
        (["the"], [[[-1]]], r"continuations\[0\]\[0\] has -1 among its token ids"),
        (["the", "x" * 99], [["x"], ["x"]], r"continuations\[1\]\[0\] with its context has 100 .* than the 50"),
    ],
)
def test_what_cannot_be_scored_is_named(floats: Qwen, contexts: Any, continuations: Any, message: str) -> None:
    qwen = Qwen(floats.model, floats.tokenizer, context_length=50)
    with pytest.raises(PromptError, match=message):
        qwen.score(contexts, continuations)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("the", "texts must be a list of texts, found 'the'"),
        (["the", ""], r"texts\[1\] is empty"),
        (["x" * 51], r"texts\[0\] has 51 tokens, more than the 50 of the model's context"),
    ],
)
def test_what_cannot_be_embedded_is_named(floats: Qwen, texts: Any, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Qwen(floats.model, floats.tokenizer, context_length=50).embed(texts)


def test_a_sequence_as_long_as_the_context_is_scored(floats: Qwen) -> None:
    qwen = Qwen(floats.model, floats.tokenizer, context_length=50)
    ((score,),) = qwen.score([[5] * 49], [[[6]]])
    assert score.logprob == pytest.approx(alone(qwen, [5] * 49, [6]).logprob, abs=1e-4)
    assert qwen.embed(["x" * 50]).shape == (1, floats.config.hidden_size)


def test_damaged_weights_are_named(floats: Qwen) -> None:
    model = copy.deepcopy(floats.model)
    with torch.no_grad():
        model.head.weight.mul_(math.nan)
    qwen = Qwen(model, floats.tokenizer)
    with pytest.raises(UnsupportedError, match="logits are not finite"):
        qwen.score(["the"], [["x"]])
    assert not qwen._shared.engine.step() and not qwen._shared.engine.slots.busy


@needs_kernels
def test_an_error_of_the_caller_leaves_no_memory_in_use(packed: Qwen) -> None:
    sequences = [ScoredSequence(array("i", [number] * 600), 1) for number in range(4)]

    def report(count: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:  # which holds on to all that was going on
        list(Scoring(packed._shared, sequences, report=report).stream())
    assert raised.tb is not None and not packed._shared.engine.slots.busy


@needs_kernels
def test_an_interrupt_leaves_the_engine_usable(packed: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = shots(choices=(2, 2))
    count, original = iter(range(100)), Transformer.passes

    def passes(self: Transformer, *args: Any, **options: Any) -> Any:
        if next(count) == 1:
            raise KeyboardInterrupt
        return original(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Transformer, "passes", passes)
        with pytest.raises(KeyboardInterrupt):
            packed.score(*pairs)
    engine = packed._shared.engine
    assert not engine.slots.busy and not engine.admission.waiting and not engine.admission.running
    assert packed.score(*pairs) == all_alone(packed, pairs)


@needs_kernels
def test_threads_score_and_reply_at_once(packed: Qwen) -> None:
    pairs = shots(choices=(2, 1))
    prompt = packed.tokenizer.decode([ord("a") - 33 + n for n in range(20)])
    expected = all_alone(packed, pairs), packed.complete(prompt, max_new_tokens=20), packed.embed([prompt])
    found: dict[int, Any] = {}

    def work(number: int) -> None:
        call = [
            lambda: packed.score(*pairs),
            lambda: packed.complete(prompt, max_new_tokens=20),
            lambda: packed.embed([prompt]),
        ][number % 3]
        found[number] = call()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        same = torch.equal if number % 3 == 2 else lambda a, b: a == b
        assert same(found[number], expected[number % 3])


@needs_kernels
def test_an_embedding_is_the_mean_of_the_hidden_states_in_any_company(
    packed: Qwen, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = random.Random(0)
    texts = [ids_of(generator, count) for count in (1, 30, 120, 700, 30)]
    vectors = packed.embed(texts)
    assert vectors.shape == (5, 128) and vectors.dtype == torch.float32
    assert vectors.norm(dim=-1).tolist() == pytest.approx([1.0] * 5)
    for ids, vector in zip(texts, vectors, strict=True):
        with torch.inference_mode():
            cache = packed.model.new_cache(max_length=len(ids), ntk="reserve")
            mean = packed.model.hidden(torch.tensor([ids]), cache=cache)[0].double().mean(0)
        assert torch.allclose(vector, (mean / mean.norm()).float(), atol=1e-6)
    monkeypatch.setattr("qwen7b.model.sequence_cache.MAX_PASS_TOKENS", 13)
    for ids, vector in zip(texts, vectors, strict=True):
        assert torch.equal(copy.copy(packed).embed([ids])[0], vector)


def test_a_text_is_embedded_after_bos(floats: Qwen) -> None:
    text, ids = floats.embed(["in the hell", floats.tokenizer.encode("in the hell")])
    assert torch.allclose(text, ids)
    vocabulary = floats.tokenizer.vocabulary
    settings = replace(vocabulary.settings, bos="<|endoftext|>")
    with_bos = Qwen(floats.model, Tokenizer(replace(vocabulary, settings=settings)))
    assert not torch.allclose(with_bos.embed(["in the hell"])[0], text, atol=1e-3)
