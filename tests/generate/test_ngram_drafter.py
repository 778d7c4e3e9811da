"""What followed the same tokens before is found, wherever that was."""

from __future__ import annotations

import random
import time

import pytest

from qwen7b.generate.ngram_drafter import NgramDrafter, NgramIndex
from qwen7b.generate.request import Request


def longest_before(ids: list[int]) -> tuple[int, int]:
    """The length of the longest n-gram that ends the text and ended before, of two to 32 tokens, and its latest end."""
    for length in range(min(32, len(ids) - 1), 1, -1):
        for end in range(len(ids) - 1, length - 1, -1):
            if ids[end - length : end] == ids[-length:]:
                return length, end
    return 0, 0


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_ngram_is_found(seed: int) -> None:
    generator = random.Random(seed)
    size = generator.choice([2, 3, 9])
    ids = [generator.randrange(size) for _ in range(3)]
    index, known = NgramIndex(), 0
    while len(ids) < 120:
        ids += ids[: generator.randrange(40)] if generator.random() < 0.1 else [generator.randrange(size)]
        index.add(ids, known)
        known = len(ids)
        match = index.find(ids)
        assert ((match.length, match.end) if match else (0, 0)) == longest_before(ids)


def draft_of(drafter: NgramDrafter, request: Request, length: int) -> list[int]:
    offered = drafter.offer(request, max_length=length)
    return drafter.draft({request: offered})[request] if offered else []


def test_a_draft_is_what_followed() -> None:
    drafter, request = NgramDrafter(), Request(ids=[1, 2, 3, 4, 5, 9, 2, 3], max_length=99)
    assert draft_of(drafter, request, 3) == [4, 5, 9]
    assert draft_of(drafter, request, 8) == [4, 5, 9, 2, 3, 4, 5, 9]  # past its end the text goes round
    request.ids.append(7)
    assert draft_of(drafter, request, 3) == []
    request.ids += [9, 2, 3]  # the latest of two places
    assert draft_of(drafter, request, 2) == [7, 9]
    request.ids += [4]  # the longer one
    assert draft_of(drafter, request, 2) == [5, 9]


def test_a_pool_knows_other_requests_texts() -> None:
    texts = [[1, 2, 3, 4, 5, 6], [7, 3, 4]]
    for drafter, expected in ((NgramDrafter(), []), (NgramDrafter(pool=True), [5, 6])):
        first, second = (Request(ids=list(text), max_length=99) for text in texts)
        assert draft_of(drafter, first, 4) == []
        drafter.forget(first)
        assert draft_of(drafter, second, 4)[:2] == expected


def test_a_pool_forgets_what_is_old() -> None:
    index = NgramIndex(max_size=100)
    texts = [[n, n + 1, n + 2] * 3 for n in range(0, 3000, 10)]
    for text in texts:
        index.add(text, 0)
    assert index.find(texts[-1]) and index.find(texts[-9]) and not index.find(texts[-40])
    assert index.size <= 50


def test_a_long_text_is_looked_up_at_once() -> None:
    generator = random.Random(0)
    request = Request(ids=[generator.randrange(2000) for _ in range(32_000)], max_length=40_000)
    drafter = NgramDrafter()
    drafter.offer(request, max_length=8)
    started = time.perf_counter()
    for _ in range(100):
        request.ids.append(generator.randrange(2000))
        drafter.offer(request, max_length=8)
    assert (time.perf_counter() - started) / 100 < 0.002  # one look through all of it takes longer
