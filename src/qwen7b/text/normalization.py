"""Unicode's normal form C, in time that grows no faster than the text. https://www.unicode.org/reports/tr15/"""

from __future__ import annotations

import unicodedata
from itertools import groupby

import regex

# Characters that count as none of the marks to be sorted but are composed of some.
COMPOSED_MARKS = {"\u0f73": "\u0f71\u0f72", "\u0f75": "\u0f71\u0f74", "\u0f81": "\u0f71\u0f80"}
_DECOMPOSE = str.maketrans(COMPOSED_MARKS)
_MANY_MARKS = regex.compile(r"\p{M}{16,}+")


def to_nfc(text: str) -> str:
    """The same as `unicodedata.normalize("NFC", text)`, which sorts a run of marks by insertion: n² steps for n marks.

    Marks are therefore sorted first. Where they are many, that is: in ordinary text they are a few.
    """
    if not text.isascii():
        text = _MANY_MARKS.sub(lambda run: _sort_marks(run[0]), text)
    return unicodedata.normalize("NFC", text)


def without_surrogates(text: str) -> str:
    """The text with halves of characters joined, and lone ones as replacement characters, as tiktoken does it."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _sort_marks(marks: str) -> str:
    """Stretches of marks that have a combining class, each sorted by it, equal ones in their order."""
    stretches = groupby(marks.translate(_DECOMPOSE), key=lambda mark: unicodedata.combining(mark) != 0)
    return "".join(
        "".join(sorted(stretch, key=unicodedata.combining) if sortable else stretch) for sortable, stretch in stretches
    )
