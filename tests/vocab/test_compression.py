"""How well vocabularies compress: every figure counted by hand on a vocabulary of a few tokens."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny
from qwen7b.errors import SettingError
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.vocab import Compression, compression_table, find_groups, measure_compression, plot_compression
from qwen7b.vocab.table import aligned_table


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Tokens: bytes, and he ll hell th the Ġt in er, two bytes of 你 and 你."""
    return load_tokenizer(tiny.write_tokenizer_json(tmp_path_factory.mktemp("words") / "tokenizer.json"))


@pytest.fixture(scope="module")
def only_bytes(words: Tokenizer) -> Tokenizer:
    ids = {token: id for token, id in words.vocabulary.ids.items() if len(token) == 1}
    return Tokenizer(replace(words.vocabulary, ids=ids, ranks=ids, control_tokens={}))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "en.txt").write_text("hell the the\n", encoding="utf-8")
    (folder / "zh.txt").write_text("你好", encoding="utf-8")
    return folder


def measured(texts: Path, **tokenizers: Tokenizer) -> dict[tuple[str, str], Compression]:
    results = measure_compression(find_groups([texts]), tokenizers, baseline="bytes")
    return {(result.language, result.vocabulary): result for result in results}


def test_tokens_are_counted_and_compared(texts: Path, words: Tokenizer, only_bytes: Tokenizer) -> None:
    of = measured(texts, words=words, bytes=only_bytes)
    english = of["en", "words"]  # hell, ␠t, he, ␠t, he, ↵
    assert (english.texts, english.bytes, english.characters, english.tokens) == (1, 13, 13, 6)
    assert english.bytes_per_token == 13 / 6
    assert english.relative_tokens == 6 / 13
    assert (english.partial_tokens, english.changed_texts, english.normalized_texts) == (0, 0, 0)
    chinese = of["zh", "words"]  # 你, and the three bytes of 好
    assert (chinese.bytes, chinese.characters, chinese.tokens) == (6, 2, 4)
    assert chinese.characters_per_token == 2 / 4
    assert (chinese.partial_tokens, chinese.byte_tokens) == (3, 3)
    assert of["zh", "bytes"].relative_tokens == 1
    assert of["zh", "bytes"].byte_tokens == 6


def test_a_part_of_a_character_need_not_be_a_byte(tmp_path: Path, words: Tokenizer, only_bytes: Tokenizer) -> None:
    (tmp_path / "zh.txt").write_text("佡", encoding="utf-8")  # E4 BD A1, whose first two bytes are a token
    result = measured(tmp_path, words=words, bytes=only_bytes)["zh", "words"]
    assert (result.tokens, result.partial_tokens, result.byte_tokens) == (2, 2, 1)


def test_texts_that_are_normalized_or_cannot_be_written_are_counted(
    tmp_path: Path, words: Tokenizer, only_bytes: Tokenizer
) -> None:
    (tmp_path / "fr").mkdir()
    for number, text in enumerate(["été", unicodedata.normalize("NFD", "été"), "the"]):
        (tmp_path / "fr" / f"{number}.txt").write_text(text, encoding="utf-8")
    ids = {token: id for token, id in only_bytes.vocabulary.ids.items() if token != b"\xa9"}
    lacking = Tokenizer(replace(only_bytes.vocabulary, ids=ids))
    of = measured(tmp_path, words=words, bytes=only_bytes, lacking=lacking)
    assert (of["fr", "words"].texts, of["fr", "words"].normalized_texts) == (3, 1)
    assert of["fr", "words"].changed_texts == 0
    assert of["fr", "lacking"].changed_texts == 2


def test_unknown_baselines_and_empty_texts_are_refused(texts: Path, words: Tokenizer) -> None:
    with pytest.raises(SettingError, match=r"the baseline 'none' is none of the vocabularies: it is one of words"):
        measure_compression(find_groups([texts]), {"words": words}, baseline="none")
    (texts / "empty.txt").write_text("")
    with pytest.raises(SettingError, match=r"empty has no text: .*empty\.txt is empty"):
        measure_compression(find_groups([texts]), {"words": words})


def test_the_table_reads_well_as_it_is(texts: Path, words: Tokenizer, only_bytes: Tokenizer) -> None:
    results = measure_compression(find_groups([texts]), {"bytes": only_bytes, "words": words})
    assert compression_table(results).splitlines() == [
        "| language |    MB | bytes: bytes a token | words: bytes a token | words: × bytes |",
        "| -------- | ----: | -------------------: | -------------------: | -------------: |",
        "| en       | 0.000 |                 1.00 |                 2.17 |           0.46 |",
        "| zh       | 0.000 |                 1.00 |                 1.50 |           0.67 |",
    ]
    assert aligned_table([["a", "b"], ["中文", "1"]]).splitlines()[1:] == ["| ---- | -: |", "| 中文 |  1 |"]


def test_the_plot_has_a_bar_for_each_number(
    texts: Path, tmp_path: Path, words: Tokenizer, only_bytes: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure_module = pytest.importorskip("matplotlib.figure", reason="plots need the extra train")
    saved: list[Any] = []
    save = figure_module.Figure.savefig

    def save_and_keep(figure: Any, *rest: Any, **named: Any) -> None:
        saved.append(figure)
        save(figure, *rest, **named)

    monkeypatch.setattr(figure_module.Figure, "savefig", save_and_keep)
    results = measure_compression(find_groups([texts]), {"bytes": only_bytes, "words": words})
    for _ in range(2):
        plot_compression(results, tmp_path / "plot.svg")
    first, second = ([bar.get_height() for bar in figure.axes[0].patches] for figure in saved)
    assert first == second == [4 / 6, 6 / 13]  # the worst language first
    assert [label.get_text() for label in saved[0].axes[0].get_xticklabels()] == ["zh", "en"]
    plot_compression([result for result in results if result.vocabulary == "bytes"], tmp_path / "one.png")
    assert [bar.get_height() for bar in saved[2].axes[0].patches] == [1, 1]  # bytes a token
