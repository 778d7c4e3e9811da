"""BLEU and chrF of translations by sacrebleu, scores that only all segments together have."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from qwen7b.errors import MissingExtraError
from qwen7b.system.environment import cache_folder
from qwen7b.tasks.intervals import bootstrap_interval


def check_libraries() -> None:
    """Raise MissingExtraError if translations cannot be scored, so that no hours of work are lost to it."""
    for library in ("sacrebleu", "jieba"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the source of jieba has escapes that newer Pythons warn of
                import_module(library)
        except ImportError as error:
            raise MissingExtraError(library, extra="eval") from error


def spaced_words(text: str) -> str:
    """A Chinese text cut into words by jieba, with a space between two of them."""
    return " ".join(_word_cutter().cut(text.strip()))


@cache
def _word_cutter() -> Any:
    jieba = import_module("jieba")
    jieba.setLogLevel(logging.WARNING)  # else it tells how long its dictionary took
    cutter = jieba.Tokenizer()
    # It keeps its dictionary in a file that it trusts: not in the folder for temporary files, where all may write.
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    cutter.tmp_dir = str(folder)
    return cutter


def bleu(
    texts: Sequence[str], references: Sequence[str], *, tokenizer: str
) -> tuple[float, tuple[float, float] | None]:
    """The BLEU of translations by one of sacrebleu's tokenizers, "13a" or "zh"; of several, with its 95 % interval."""
    import numpy as np
    from sacrebleu import BLEU

    metric = BLEU(tokenize=tokenizer)
    whole = metric.corpus_score(texts, [references])
    # The counts of each segment, from whose sums the score of any sample follows.
    counts = np.array(
        [
            (*own.counts, *own.totals, own.sys_len, own.ref_len)
            for text, reference in zip(texts, references, strict=True)
            for own in [metric.corpus_score([text], [[reference]])]
        ]
    )
    orders = metric.max_ngram_order

    def score(drawn: Sequence[int]) -> float:
        sums = counts[list(drawn)].sum(axis=0).tolist()
        return metric.compute_bleu(
            correct=sums[:orders],
            total=sums[orders : 2 * orders],
            sys_len=sums[-2],
            ref_len=sums[-1],
            smooth_method=metric.smooth_method,
        ).score

    return whole.score, bootstrap_interval(range(len(texts)), score)


def bleu_signature(tokenizer: str) -> str:
    """What sacrebleu says of how it scores: its settings and its version."""
    from sacrebleu import BLEU

    metric = BLEU(tokenize=tokenizer)
    metric.corpus_score(["a"], [["a"]])  # or it does not know yet that there is one reference
    return f"BLEU|{metric.get_signature()}"


def chrf(texts: Sequence[str], references: Sequence[str]) -> float:
    """The F-score of n-grams of characters (Popović 2015), blanks left out."""
    from sacrebleu import CHRF

    return float(CHRF().corpus_score(texts, [references]).score)
