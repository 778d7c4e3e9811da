"""A vocabulary extended by a corpus: fewer tokens for its language, the same ids for others."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from qwen7b.errors import SettingError
from qwen7b.text import Tokenizer
from qwen7b.vocab import Extension, extend_vocabulary, named_group
from qwen7b.vocab.extended_vocabulary import check_reachable
from qwen7b.vocab.token_rules import CHANGES_KEPT, OTHER_SCRIPT


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "english.txt"
    path.write_text("the cat in the hat hears them, and the other one is in there\n", encoding="utf-8")
    return path


def extension_of(words: Tokenizer, georgian: Path, **settings: object) -> Extension:
    groups = {name: [named_group(path)] for name, path in settings.items() if isinstance(path, Path)}
    others = {name: value for name, value in settings.items() if name not in groups}
    check = [named_group(georgian / "test.txt")]
    corpus = [named_group(georgian / "train.txt")]
    return extend_vocabulary(words, corpus, **{"num_tokens": 100, "check": check, **others, **groups})  # type: ignore[arg-type]


def test_held_out_text_needs_fewer_tokens(words: Tokenizer, georgian: Path) -> None:
    extension = extension_of(words, georgian, scripts=("Georgian",))
    assert len(extension.learned) == 100
    assert extension.corpus_tokens_after < 0.5 * extension.corpus_tokens_before
    (test,) = extension.checked
    assert test.fewer > 0.5
    after = Tokenizer(extension.vocabulary)
    text = (georgian / "test.txt").read_text(encoding="utf-8")
    assert test.tokens_after == len(after.encode(text))
    assert test.tokens_before == len(words.encode(text))
    assert after.decode(after.encode(text)) == text


def test_with_a_script_no_other_text_changes(words: Tokenizer, georgian: Path, kept: Path) -> None:
    extension = extension_of(words, georgian, scripts=("Georgian",))
    assert extension.refusals[OTHER_SCRIPT] > 0
    after = Tokenizer(extension.vocabulary)
    for text in (kept.read_text(), "你好，世界", "def f(x):\n    return x\n", "Καλημέρα кот"):
        assert after.encode(text) == words.encode(text)
    assert extension.partial > 0  # E1 83 begins every Georgian letter


def test_kept_texts_have_the_ids_that_they_had(words: Tokenizer, georgian: Path, kept: Path) -> None:
    changed = extension_of(words, georgian, check=kept)
    assert changed.checked[0].changed_texts == 1
    same = extension_of(words, georgian, keep=kept)
    assert same.refusals[CHANGES_KEPT] > 0
    report, _ = same.checked
    assert (report.is_kept, report.changed_texts) == (True, 0)
    assert Tokenizer(same.vocabulary).encode(kept.read_text()) == words.encode(kept.read_text())


def test_every_added_token_is_reachable_and_new(words: Tokenizer, georgian: Path) -> None:
    extension = extension_of(words, georgian)
    tokens = [learned.token for learned in extension.learned]
    assert len({*tokens}) == 100 and words.vocabulary.ids.keys().isdisjoint(tokens)
    check_reachable(Tokenizer(extension.vocabulary), tokens)
    assert [extension.vocabulary.ids[token] for token in tokens] == [*range(words.vocab_size, words.vocab_size + 100)]
    assert extension.first_id == words.vocab_size
    assert min(learned.frequency for learned in extension.learned) >= extension.min_frequency


def test_a_corpus_that_supports_fewer_gives_fewer(words: Tokenizer, tmp_path: Path, georgian: Path) -> None:
    (tmp_path / "small.txt").write_text("abcd " * 12 + "xyz " * 9)
    extension = extend_vocabulary(words, [named_group(tmp_path / "small.txt")], num_tokens=50)
    assert 0 < len(extension.learned) < 50
    assert b"xyz" not in b"".join(learned.token for learned in extension.learned)
    nothing = extend_vocabulary(words, [named_group(tmp_path / "small.txt")], num_tokens=50, min_frequency=100)
    assert nothing.learned == () and nothing.vocabulary.ids == words.vocabulary.ids
    assert nothing.first_id == words.vocab_size


def test_the_corpus_is_normalized_as_texts_are(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "fr.txt").write_text(unicodedata.normalize("NFD", "été ") * 20, encoding="utf-8")
    extension = extend_vocabulary(words, [named_group(tmp_path / "fr.txt")], num_tokens=50)
    assert "é".encode() in {learned.token for learned in extension.learned}
    assert "\u0301".encode() not in b"".join(learned.token for learned in extension.learned)


def test_no_token_spans_pieces_of_the_pattern(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x1234 y--z it's " * 30)
    extension = extend_vocabulary(words, [named_group(tmp_path / "a.txt")], num_tokens=50)
    tokens = {learned.token for learned in extension.learned}
    assert tokens == {b" x", b" y", b" i", b" it", b"--", b"'s"} - set(words.vocabulary.ids)


def test_long_pieces_are_not_learned_from(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("q" * 2000 + " zz" * 20)
    extension = extend_vocabulary(words, [named_group(tmp_path / "a.txt")], num_tokens=50)
    assert extension.long_pieces == 1
    assert not any(b"q" in learned.token for learned in extension.learned)


def test_mistakes_are_named(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    corpus = [named_group(tmp_path / "empty.txt")]
    with pytest.raises(SettingError, match="the corpus empty is empty: give some megabytes of text"):
        extend_vocabulary(words, corpus, num_tokens=5)
    for settings, message in (
        ({"num_tokens": 0}, "tokens must be a whole number from 1"),
        ({"num_tokens": 10**6}, "tokens must be a whole number from 1 to 200000"),
        ({"num_tokens": 5, "min_frequency": 0}, "min_frequency must be a whole number of at least 1"),
        ({"num_tokens": 5, "scripts": ["Elvish"]}, "there is no script 'Elvish'"),
    ):
        with pytest.raises(SettingError, match=message):
            extend_vocabulary(words, corpus, **settings)  # type: ignore[arg-type]
