"""n-grams as numbers: many texts at once give the same as each alone, and as a plain loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen7b.data.shingles import WordNumbers, hash_ngrams, number_words

pytest.importorskip("datatrove")

THE_CAT = 16553816895296956961
TEXTS = ["the cat sat on the mat", "one", "", "a b", "你好世界，你好世界", "the cat sat on the mat today"]


def ngrams(text: str, n: int) -> list[int]:
    rows = number_words([text], WordNumbers())
    return hash_ngrams(rows, n).numbers.tolist()


@pytest.mark.parametrize("n", [1, 2, 3, 5, 13])
def test_many_texts_give_what_each_gives_alone(n: int) -> None:
    rows = hash_ngrams(number_words(TEXTS, WordNumbers()), n)
    for row, text in enumerate(TEXTS):
        assert rows.numbers[rows.starts[row] : rows.starts[row + 1]].tolist() == ngrams(text, n)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 5))
def test_equal_windows_have_equal_numbers_and_others_do_not(words: list[str], n: int) -> None:
    windows = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    numbers = ngrams(" ".join(words), n)
    assert len(numbers) == len(windows)
    assert len(set(numbers)) == len(set(windows))
    assert len(set(zip(numbers, windows, strict=True))) == len(set(numbers))


def test_a_short_text_has_no_n_grams() -> None:
    assert ngrams("a b", 5) == ngrams("", 1) == [] and len(ngrams("a b", 2)) == 1


def test_numbers_are_the_same_on_every_machine() -> None:
    assert ngrams("the cat", 2) == ngrams("The  CAT!", 2) == [THE_CAT]
