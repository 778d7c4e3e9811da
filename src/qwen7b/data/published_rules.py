"""The filters of Gopher, C4 and FineWeb, which are datatrove's own classes, with words and settings by language.

datatrove's words come from spaCy and NLTK, which need models or libraries that may not be there, so ours take their
place. For English the settings are FineWeb's, for all other languages FineWeb-2's, with its own thresholds for Chinese
and without a check of stop words where no list is here. One setting differs: there is no upper limit to the number of
words, as files may be books. Programs are left to other rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from datatrove.data import Document as TroveDocument
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

from qwen7b.data.document import CODE, Document
from qwen7b.data.rules import KEPT, Ruling
from qwen7b.data.words import PARTICLES, words_of


class OfflineWords(WhitespaceTokenizer):  # type: ignore[misc]  # datatrove has no types
    """Our words and datatrove's sentences by punctuation; it needs no model of a language."""

    def word_tokenize(self, text: str) -> list[str]:
        return list(words_of(text))


WORDS = OfflineWords()
"""One for all, as datatrove remembers a text's words by it."""
_CHINESE = ("zh",)
_PARAGRAPHS = re.compile(r"\n\s*\n")


@dataclass(slots=True)
class PublishedRule:
    """One of datatrove's filters, made when a language first needs it."""

    name: str
    origin: str
    make: Callable[[str], Any]
    """Makes the filter for a language; None where it does not apply to it."""
    changes_texts: bool = False
    """Whether it takes lines out of texts that it keeps."""
    _made: dict[str, Any] = field(default_factory=dict)

    def rule_on(self, document: Document) -> Ruling:
        language = document.language
        if language == CODE:
            return KEPT
        if language not in self._made:
            self._made[language] = self.make(language)
        if (filter_ := self._made[language]) is None:
            return KEPT
        trove = TroveDocument(text=unwrapped(document.text), id=document.id)
        result = filter_.filter(trove)
        keeps, reason = result if isinstance(result, tuple) else (result, "dropped")
        if not keeps:
            return Ruling(str(reason).removeprefix("gopher_").replace("_", " "))
        return Ruling(text=trove.text) if self.changes_texts and trove.text != document.text else KEPT


def unwrapped(text: str) -> str:
    """A text whose lines were broken at some width, as in many books, with each paragraph as a line.

    The rules judge lines as those of web pages, where a line is a paragraph. Text is taken for broken where most lines
    have from 50 to 100 characters, and none more.
    """
    lengths = [len(line) for line in text.splitlines() if line.strip()]
    if not lengths or max(lengths) > 100 or 2 * sum(length >= 50 for length in lengths) <= len(lengths):
        return text
    return "\n\n".join(" ".join(part.split()) for part in _PARAGRAPHS.split(text))


def _repetition(language: str) -> Any:
    if language == "en":
        return GopherRepetitionFilter(language=WORDS)
    grams: dict[str, Any] = {}
    if language in _CHINESE:
        grams = {
            "dup_line_frac": 0.287,
            "top_n_grams": ((2, 0.256), (3, 0.201), (4, 0.171)),
            "dup_n_grams": ((5, 0.198), (6, 0.182), (7, 0.167), (8, 0.154), (9, 0.14), (10, 0.127)),
        }
    return GopherRepetitionFilter(language=WORDS, dup_para_frac=0, dup_line_char_frac=0, dup_para_char_frac=0, **grams)


def _quality(language: str) -> Any:
    if language == "en":
        return GopherQualityFilter(language=WORDS, max_doc_words=None)
    if language in _CHINESE:
        return GopherQualityFilter(
            language=WORDS,
            max_doc_words=None,
            min_avg_word_length=1,
            max_avg_word_length=5,
            max_non_alpha_words_ratio=0.735,
            stop_words=list(PARTICLES),
        )
    bounds = {"min_avg_word_length": 1} if language in ("ja", "th", "lo", "km", "my") else {}
    return GopherQualityFilter(language=WORDS, max_doc_words=None, min_stop_words=None, **bounds)


def _fineweb(language: str) -> Any:
    if language == "en":
        return FineWebQualityFilter(language=WORDS)
    lines = {"line_punct_thr": 0.106, "new_line_ratio": 0.178} if language in _CHINESE else {}
    return FineWebQualityFilter(language=WORDS, short_line_thr=999, char_duplicates_ratio=0.1, **lines)


def _c4(language: str) -> Any:
    return C4QualityFilter(language=WORDS, filter_no_terminal_punct=False) if language == "en" else None


def published_rules() -> list[PublishedRule]:
    """The rules in FineWeb's order."""
    return [
        PublishedRule("gopher-repetition", "Gopher, https://arxiv.org/abs/2112.11446, table A1", _repetition),
        PublishedRule("gopher-quality", "Gopher, https://arxiv.org/abs/2112.11446, section A.1", _quality),
        PublishedRule(
            "c4",
            "C4, https://arxiv.org/abs/1910.10683, without its rule of line ends, as FineWeb",
            _c4,
            changes_texts=True,
        ),
        PublishedRule("fineweb", "FineWeb, https://arxiv.org/abs/2406.17557, section 3.6", _fineweb),
    ]
