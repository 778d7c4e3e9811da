"""A draft model says what it would say by itself, whatever was accepted of what it said before."""

from __future__ import annotations

import random

import pytest
import torch

from qwen7b.generate.cache_memory import MAX_KEPT
from qwen7b.generate.engine import Engine
from qwen7b.generate.model_drafter import ModelDrafter
from qwen7b.generate.request import Request
from qwen7b.kernels import native
from qwen7b.model import Transformer
from random_packed import random_model

VOCAB = 300
pytestmark = pytest.mark.skipif(native.library() is None, reason="only native kernels compute a row alike in any pass")


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(4)
    return random_model(trained_length=100)


def greedy(model: Transformer, ids: list[int], length: int) -> list[int]:
    engine = Engine(model, vocab_size=VOCAB)
    request = Request(ids=list(ids), max_length=len(ids) + length, ntk="original")
    engine.add(request)
    while engine.step():
        pass
    return request.ids[len(ids) :]


@pytest.mark.parametrize("seed", range(4))
@torch.inference_mode()
def test_drafts_are_the_models_own_replies(model: Transformer, seed: int) -> None:
    generator = random.Random(seed)
    drafter = ModelDrafter(model, vocab_size=VOCAB)
    requests = [
        Request(ids=[generator.randrange(VOCAB) for _ in range(length)], max_length=250) for length in (3, 150, 90, 20)
    ]
    num_drafts = 0
    while max(len(request.ids) for request in requests) < 220:
        offered = {request: drafter.offer(request, max_length=generator.randrange(1, 7)) for request in requests}
        lengths = {request: generator.randrange(1, offer + 1) for request, offer in offered.items() if offer}
        for request, draft in drafter.draft(lengths).items():
            assert draft == greedy(model, request.ids, len(draft))
            num_drafts += 1
            request.ids += draft[: generator.randrange(len(draft) + 1)]
        for request in requests:  # the pick of the model that is drafted for, or several forced ids
            request.ids += [generator.randrange(VOCAB) for _ in range(generator.choice([1, 1, 1, 6]))]
        if generator.random() < 0.2:
            over = requests.pop(0)
            drafter.forget(over)
            requests.append(Request(ids=[*over.ids[:-3], 5, 6], max_length=250))
    assert num_drafts > 40


@torch.inference_mode()
def test_a_long_prompt_is_read_bit_by_bit(model: Transformer) -> None:
    drafter = ModelDrafter(model, vocab_size=VOCAB)
    request = Request(ids=[7] * 300, max_length=350)
    assert [drafter.offer(request, max_length=4) for _ in range(3)] == [0, 0, 4]


@torch.inference_mode()
def test_there_is_no_draft_past_the_models_context_or_its_rows(model: Transformer) -> None:
    drafter = ModelDrafter(model, vocab_size=VOCAB)
    context = model.config.context_length
    assert drafter.offer(Request(ids=[7] * (context - 3), max_length=2 * context), max_length=4) == 0
    assert drafter.offer(Request(ids=[7] * (context - 3), max_length=2 * context), max_length=3) == 0  # not read yet
    assert drafter.offer(Request(ids=[7, 5000, 7, 7, 7, 7], max_length=20), max_length=3) == 0


def test_the_memory_of_a_request_that_is_over_is_given_back(model: Transformer) -> None:
    engine = Engine(model, vocab_size=VOCAB, draft_model=model)
    requests = [Request(ids=[n, 5], max_length=30, speculate="model") for n in range(9)]
    for request in requests:
        engine.add(request)
    while engine.step():
        pass
    drafter = engine.speculation.drafters["model"]
    assert isinstance(drafter, ModelDrafter) and not drafter._slots.busy and len(drafter._slots.kept) <= MAX_KEPT
    assert all(len(request.ids) == 30 for request in requests) and not engine.speculation._success
