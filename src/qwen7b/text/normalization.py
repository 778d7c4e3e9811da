"""Unicode's normal form C, in linear time. https://www.unicode.org/reports/tr15/"""

from __future__ import annotations

import unicodedata
from itertools import groupby

import regex

# Characters whose combining class is 0 although they decompose into marks that must be sorted.
COMPOSED_MARKS = {"\u0f73": "\u0f71\u0f72", "\u0f75": "\u0f71\u0f74", "\u0f81": "\u0f71\u0f80"}
_DECOMPOSE = str.maketrans(COMPOSED_MARKS)
_MANY_MARKS = regex.compile(r"\p{M}{16,}+")


def to_nfc(text: str) -> str:
    """Compute `unicodedata.normalize("NFC", text)`, which by itself takes n² steps for a run of n combining marks.

    Long runs of marks are therefore sorted first; ordinary text has only short ones.
    """
    if not text.isascii():
        text = _MANY_MARKS.sub(lambda run: _sort_marks(run[0]), text)
    return unicodedata.normalize("NFC", text)


def without_surrogates(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced by U+FFFD, as tiktoken does it."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _sort_marks(marks: str) -> str:
    """Sort each stretch of marks that have a combining class by it, stably."""
    stretches = groupby(marks.translate(_DECOMPOSE), key=lambda mark: unicodedata.combining(mark) != 0)
    return "".join(
        "".join(sorted(stretch, key=unicodedata.combining) if sortable else stretch) for sortable, stretch in stretches
    )
