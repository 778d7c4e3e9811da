"""Scores of translations: their intervals, and the words of Chinese."""

from __future__ import annotations

import pytest

from qwen7b.tasks.translation_scores import bleu, spaced_words

sacrebleu = pytest.importorskip("sacrebleu", reason="translations are scored by the extra eval")
pytest.importorskip("jieba", reason="translations are scored by the extra eval")

REFERENCES = [
    f"The {noun} is {place} the old stone bridge." for noun in ("inn", "cat", "road") for place in ("by", "on")
]


def test_an_interval_is_about_that_of_sacrebleus_own_bootstrap() -> None:
    texts = [line.replace("old", "very old" if number % 2 else "new") for number, line in enumerate(REFERENCES * 20)]
    score, interval = bleu(texts, REFERENCES * 20, tokenizer="13a")
    assert interval is not None
    low, high = interval
    whole = sacrebleu.BLEU().corpus_score(texts, [REFERENCES * 20], n_bootstrap=1000)
    assert score == whole.score and low < score < high
    assert high - low == pytest.approx(2 * whole._ci, rel=0.15)
    assert bleu(texts, REFERENCES * 20, tokenizer="13a") == (score, (low, high))  # the draw is the same each time


def test_outputs_with_nothing_right_score_nothing() -> None:
    assert bleu(["", ""], ["the inn", "the road"], tokenizer="13a") == (0.0, (0.0, 0.0))


def test_words_of_chinese_stand_apart() -> None:
    assert spaced_words(" 浙江大学2016年学术年会 ") == "浙江大学 2016 年 学术年会"
    assert spaced_words("") == ""
