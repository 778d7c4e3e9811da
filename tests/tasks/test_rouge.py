"""ROUGE-L: equal to Google's rouge-score, which the original scores with."""

from __future__ import annotations

from random import Random

import pytest

from qwen7b.tasks.rouge import printed_words, rouge_l


class Blanks:
    """The tokenizer that the original gives to rouge-score."""

    def tokenize(self, text: str) -> list[str]:
        return text.split()


def test_scores_are_those_of_rouge_score() -> None:
    scoring = pytest.importorskip("rouge_score.rouge_scorer", reason="the package rouge-score is the referee")
    scorer, random = scoring.RougeScorer(["rougeL"], tokenizer=Blanks()), Random(0)
    for _ in range(500):
        words, reference = ([random.choice("abcde") for _ in range(random.randint(0, 12))] for _ in range(2))
        expected = scorer.score(" ".join(reference), " ".join(words))["rougeL"].fmeasure
        assert rouge_l(words, reference) == expected


def test_tokens_are_compared_as_they_are_printed() -> None:
    assert printed_words([b'{"a"', b":", b" ", b' "', "杭".encode()[:2], "杭".encode()[2:], b"\n\n", b"b c"]) == [
        *('{"a"', ":", '"', "\ufffd", "\ufffd", "b", "c")
    ]
    assert rouge_l([], []) == 0 == rouge_l(["a"], []) and rouge_l(["a"], ["a"]) == 1
