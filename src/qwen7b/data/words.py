"""Words of texts, also of languages that write none: for rules by words, and for comparisons of texts."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import regex

from qwen7b.errors import MissingExtraError

PARTICLES = "的了在是和也而被为為与與于於由他有"
"""Chinese words of one character that nearly every text has; the stop words of FineWeb-2 for Chinese that are no part
of longer words, https://github.com/huggingface/fineweb-2/blob/main/configs/cmn_Hani.yml, in both scripts."""

_PAIRED = r"\p{Han}\p{Hiragana}"
_FOURS = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(
    rf"(?V1)[{PARTICLES}]"
    rf"|[[{_PAIRED}]--[{PARTICLES}]]{{1,2}}"
    rf"|[{_FOURS}\p{{M}}]{{1,4}}"
    rf"|[[\p{{L}}\p{{M}}\p{{N}}]--[{_PAIRED}{_FOURS}]]+(?:['’_-][[\p{{L}}\p{{M}}\p{{N}}]--[{_PAIRED}{_FOURS}]]+)*"
    rf"|[^\s\p{{L}}\p{{M}}\p{{N}}]+"
)
_UNIT = regex.compile(rf"(?V1)[{_PAIRED}{_FOURS}]\p{{M}}*|[[^\s]--[{_PAIRED}{_FOURS}]]+")
_NUMBER = re.compile(r"\d+(?:[.,،٫⎖⎗⎘]\d+)?")  # of any script
_MARKS = regex.compile(r"\p{Mn}+")


@lru_cache(8)  # several rules ask for the words of the same text
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, and what signs stand between them, of which adjacent ones are one.

    Where words are not set apart by spaces, two Chinese characters or hiragana make one, as most Chinese words have
    one or two, except that particles stand alone; so do four letters of Thai, Lao, Khmer and Burmese.

    >>> words_of("It's 3.5 km, 他在北京大学学习了三年。")
    ("It's", '3', '.', '5', 'km', ',', '他', '在', '北京', '大学', '学习', '了', '三年', '。')
    """
    return tuple(_WORD.findall(text))


def simplified(text: str) -> str:
    """A text without what copies of it often differ in: case, punctuation, numbers' values, accents, blanks.

    It is what datatrove's `simplify_text` returns, faster: numbers become 0 and punctuation blanks.

    >>> simplified("Café, 12.5% —  «Déjà vu»")
    'cafe 0 deja vu'
    """
    text = _NUMBER.sub("0", text.lower()).translate(_blank_punctuation())
    text = " ".join(text.split())
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFD", text))
    return text.strip()


@lru_cache(1)
def _blank_punctuation() -> dict[int, int]:
    try:
        from datatrove.utils.text import PUNCTUATION_TRANS
    except ImportError as error:
        raise MissingExtraError("datatrove", extra="train") from error
    translation: dict[int, int] = PUNCTUATION_TRANS
    return translation


def units_of(simple: str) -> list[str]:
    """What texts are compared by, out of a simplified one: words, and of scripts without blanks each character.

    >>> units_of("3 files 你好")
    ['3', 'files', '你', '好']
    """
    return simple.split(" ") if simple.isascii() and simple else _UNIT.findall(simple)
