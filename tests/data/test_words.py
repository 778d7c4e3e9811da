"""Words of texts, and texts without what copies differ in, equal to datatrove's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen7b.data.words import simplified, units_of, words_of

pytest.importorskip("datatrove")
from datatrove.utils.text import simplify_text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a well-known fact.", ["It's", "a", "well-known", "fact", "."]),
        ("他在北京大学学习了三年。", ["他", "在", "北京", "大学", "学习", "了", "三年", "。"]),
        ("使用Python3编程", ["使用", "Python3", "编程"]),
        ("東京タワーに行く", ["東京", "タワー", "に行", "く"]),
        ("สวัสดีครับ", ["สวัส", "ดีคร", "ับ"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert list(words_of(text)) == words


@pytest.mark.parametrize(
    "text",
    [
        "Hello,  World! It's 3.14 — or 2,718?\n\n«Déjà vu», naïve Ångström",
        "价格是１２.５元，共计 3 件。《红楼梦》！",
        "Привет, мир: 1 000 рублей… Ёлка",
        "ที่ประชุม ๑๒๓",
        "이것은 12개",
        "",
        "?!",
    ],
)
def test_a_simplified_text_is_datatrove_s(text: str) -> None:
    assert simplified(text) == simplify_text(text)


# Letters that Unicode has had for long: the two libraries know different versions of it.
@given(st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cn", "Cs", "Mn"])))
def test_simplified_texts_of_any_letters_are_datatrove_s(text: str) -> None:
    assert simplified(text) == simplify_text(text)


def test_units_are_words_and_characters() -> None:
    assert units_of(simplified("Read 3 files: 你好，世界 ok")) == ["read", "0", "files", "你", "好", "世", "界", "ok"]
    assert units_of("") == []
