"""Added tokens: ids, the proof that they are reachable, and files that ours and the original's loader read."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiktoken
from tokenizers import Tokenizer as Referee

from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.export import extra_tiktoken
from qwen7b.text.qwen_tiktoken import CONTROL_NAMES
from qwen7b.vocab.extended_vocabulary import (
    check_reachable,
    check_target,
    check_without_holes,
    extended,
    is_original,
    parts_of,
    rows_for,
    write_extended,
)

CAT = "我是一只猫"
CAT_TOKENS = [token.encode() for token in ("一只猫", "只猫", "是一只猫", CAT)]


def test_ids_and_ranks_follow_all_others(words: Tokenizer) -> None:
    added = [b"hellth", "你你".encode()]
    vocabulary = extended(words.vocabulary, added)
    assert [vocabulary.ids[token] for token in added] == [words.vocab_size, words.vocab_size + 1]
    assert vocabulary.ranks[added[0]] == max(words.vocabulary.ranks.values()) + 1
    after = Tokenizer(vocabulary)
    assert after.encode("hellth") == [words.vocab_size]
    assert after.encode("hell th") == words.encode("hell th")
    assert after.unused_ids == words.unused_ids
    check_reachable(after, added)
    assert parts_of(b"hellth", words.vocabulary) == words.encode("hellth")


@pytest.mark.parametrize("token", [b"hellin the", b"hellxyz", b"in!?"])
def test_a_token_that_no_text_becomes_is_found(words: Tokenizer, token: bytes) -> None:
    """Two pieces of the pattern, or parts that no earlier token joins."""
    tokenizer = Tokenizer(extended(words.vocabulary, [token]))
    with pytest.raises(UnsupportedError, match="no text would become the token"):
        check_reachable(tokenizer, [token])


@pytest.mark.parametrize(
    ("vocab_size", "rows", "expected"),
    [(151936, 151936, 151936), (151937, 151936, 152064), (300, 320, 320), (5, 1, 128)],
)
def test_rows(vocab_size: int, rows: int, expected: int) -> None:
    assert rows_for(vocab_size, rows) == expected


def test_a_tokenizer_json_reads_back_here_and_in_the_tokenizers_library(words: Tokenizer, tmp_path: Path) -> None:
    vocabulary = extended(words.vocabulary, [b"hellth", b"hellthe"])
    check_target(tmp_path / "tokenizer.json", words)
    write_extended(vocabulary, tmp_path / "tokenizer.json")
    read, referee = load_tokenizer(tmp_path / "tokenizer.json"), Referee.from_file(str(tmp_path / "tokenizer.json"))
    assert (read.vocabulary.ids, read.control_tokens) == (vocabulary.ids, words.control_tokens)
    text = "hellthe hell the 你好"
    assert read.encode(text) == referee.encode(text).ids
    assert read.encode("hellthe") == [words.vocab_size + 1]


def test_targets_that_make_no_sense_are_refused(words: Tokenizer, tmp_path: Path) -> None:
    for name, message in (
        ("extra.txt", "the target's name says its form"),
        ("none/tokenizer.json", r"there is no folder .*none for tokenizer\.json"),
        ("qwen_extra.tiktoken", r"is another vocabulary: write a tokenizer\.json"),
    ):
        with pytest.raises(SettingError, match=message):
            check_target(tmp_path / name, words)


def test_the_originals_own_example(qwen: Tokenizer, tmp_path: Path) -> None:
    """The file is the one of the original's note on tokenization, as far as its tokens are reachable.

    https://github.com/QwenLM/Qwen/blob/main/tokenization_note.md
    """
    assert is_original(qwen.vocabulary)
    target = tmp_path / "qwen_extra.tiktoken"
    check_target(target, qwen)
    tokens = ["只猫".encode(), "是一只猫".encode(), CAT.encode()]
    vocabulary = extended(qwen.vocabulary, tokens)
    check_reachable(Tokenizer(vocabulary), tokens)
    write_extended(vocabulary, target)
    assert target.read_text().splitlines() == [
        "5Y+q54yr 151851",
        "5piv5LiA5Y+q54yr 151852",
        "5oiR5piv5LiA5Y+q54yr 151853",
    ]
    read = load_tokenizer(qwen.vocabulary.source, extra_vocabulary=target)
    assert read.encode(CAT) == [151853]
    assert is_original(read.vocabulary)
    assert original_loader(Path(qwen.vocabulary.source), target).encode_ordinary(CAT) == [151853]


def original_loader(tokens: Path, extra: Path) -> tiktoken.Encoding:
    """What the original's tokenization_qwen.py does with the two files, its last assertion included."""

    def load(path: Path) -> dict[bytes, int]:
        lines = (line.split() for line in path.read_bytes().splitlines() if line)
        return {base64.b64decode(token): int(rank) for token, rank in lines}

    ranks = load(tokens)
    special = {name: id for id, name in enumerate(CONTROL_NAMES, start=len(ranks))}
    used = {*ranks.values(), *special.values()}
    for token, id in load(extra).items():
        if token not in ranks and id not in used:
            used.add(id)
            ranks[token] = id
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    encoding = tiktoken.Encoding("Qwen", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    assert len(ranks) + len(special) == encoding.n_vocab
    return encoding


def test_holes_are_refused_by_name(qwen: Tokenizer, tmp_path: Path) -> None:
    extra = tmp_path / "qwen_extra.tiktoken"
    lines = [b"%s %d\n" % (base64.b64encode(token), id) for id, token in enumerate(CAT_TOKENS, start=151851)]
    extra.write_bytes(lines[0] + lines[2])
    read = load_tokenizer(qwen.vocabulary.source, extra_vocabulary=extra)
    with pytest.raises(UnsupportedError, match=r"leave 1 id without a token, the first is 151852"):
        check_target(tmp_path / "new.tiktoken", read)
    with pytest.raises(AssertionError):
        original_loader(Path(qwen.vocabulary.source), extra)
    extra.write_bytes(b"".join(lines))
    check_without_holes(load_tokenizer(qwen.vocabulary.source, extra_vocabulary=extra))


def test_an_extra_vocabulary_is_gone_on_from(qwen: Tokenizer, tmp_path: Path) -> None:
    first = extended(qwen.vocabulary, ["只猫".encode()])
    second = extended(first, ["是一只猫".encode()])
    assert len(extra_tiktoken(second).splitlines()) == 2
    assert not is_original(replace(first, nfc=False))
    assert json.dumps(sorted(set(second.ids.values()) - set(qwen.vocabulary.ids.values()))) == "[151851, 151852]"
