"""The order of a corpus: every token once an epoch, a pure function of seed, step and row, whatever the ranks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen7b.data.order import DocumentOrder
from qwen7b.errors import SettingError

LENGTHS = np.array([3, 1, 20, 7, 2, 11, 5])


def tokens_of(order: DocumentOrder, step: int, row: int) -> list[tuple[int, int]]:
    """(document, place in it) of a row's tokens."""
    return [(one.document, at) for one in order.pieces(step, row) for at in range(one.start, one.stop)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 12), st.integers(1, 5), st.integers(0, 3))
def test_an_epoch_asks_for_every_token_once(lengths: list[int], length: int, rows: int, seed: int) -> None:
    if sum(lengths) <= length:
        return
    order = DocumentOrder(np.array(lengths), length=length, rows=rows, seed=seed)
    flat = [tokens_of(order, *divmod(number, rows)) for number in range(order.rows_per_epoch)]
    assert {len(row) for row in flat} == {length + 1}
    assert all(one[-1] == other[0] for one, other in pairwise(flat))
    read = [flat[0][0], *(token for row in flat for token in row[1:])]
    assert len(read) == len(set(read)) and len(read) > sum(lengths) - length
    # Within a document the order is its own.
    assert all(b == (a[0], a[1] + 1) or b[1] == 0 for a, b in pairwise(read))


def test_epochs_differ_and_so_do_seeds() -> None:
    def epoch(seed: int, number: int) -> list[list[tuple[int, int]]]:
        order = DocumentOrder(LENGTHS, length=6, rows=1, seed=seed)
        first = number * order.rows_per_epoch
        return [tokens_of(order, step, 0) for step in range(first, first + order.rows_per_epoch)]

    assert epoch(0, 0) != epoch(0, 1) and epoch(0, 0) != epoch(1, 0) and epoch(3, 5) == epoch(3, 5)


def test_any_row_can_be_asked_for_first() -> None:
    forwards, backwards = (DocumentOrder(LENGTHS, length=6, rows=3, seed=1) for _ in range(2))
    rows = [(step, row) for step in range(20) for row in range(3)]
    expected = {place: tokens_of(forwards, *place) for place in rows}
    assert {place: tokens_of(backwards, *place) for place in reversed(rows)} == expected


def test_a_corpus_shorter_than_a_row_is_refused() -> None:
    with pytest.raises(SettingError, match="the corpus has 49 tokens, less than a row of 49"):
        DocumentOrder(LENGTHS, length=49, rows=1, seed=0)
