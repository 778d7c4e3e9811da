"""Languages of texts, by the model in py3langid's wheel."""

from __future__ import annotations

import pytest

from data.texts import CHINESE, ENGLISH
from qwen7b.data.language import identify_language

pytest.importorskip("py3langid")

GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren."
MIXED = "从「...」菜单运行 Python 宏时，Python 标准输出文件不可用。展示模块的输出内容需要 Python 交互式控制台。"
CANTONESE = "佢哋喺香港嘅屋企食飯，我哋一齊去睇戲啦，好唔好呀？你今日做咗啲乜嘢？我唔知佢幾時返嚟。"


@pytest.mark.parametrize(
    ("text", "language"),
    [(ENGLISH, "en"), (CHINESE, "zh"), (MIXED, "zh"), (GERMAN, "de"), (CANTONESE, "yue"), (CHINESE * 99, "zh")],
)
def test_languages_are_told(text: str, language: str) -> None:
    found, probability = identify_language(text)
    assert found == language and 0.9 < probability <= 1


def test_a_text_without_letters_is_unclear() -> None:
    assert identify_language("")[1] < 0.1 and identify_language("12 34")[1] < 0.65
