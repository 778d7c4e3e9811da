"""A vocabulary of bytes and a few tokens, the original, and languages to learn."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import tiny
from qwen7b.text import Tokenizer, load_tokenizer
from text.conftest import qwen, qwen_vocabulary  # noqa: F401  # fixtures


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer of bytes and he ll hell th the ␠t in er, two bytes of 你 and 你."""
    return load_tokenizer(tiny.write_tokenizer_json(tmp_path_factory.mktemp("words") / "tokenizer.json"))


def speech(letters: str, *, seed: int, words: int = 3000) -> str:
    """Words out of a small lexicon, the same for all seeds, in lines."""
    lexicon_of = random.Random(letters)
    lexicon = ["".join(lexicon_of.choices(letters, k=lexicon_of.randrange(2, 9))) for _ in range(120)]
    chosen = random.Random(seed).choices(lexicon, weights=range(len(lexicon), 0, -1), k=words)
    return "".join(word + ("\n" if number % 12 == 11 else " ") for number, word in enumerate(chosen))


@pytest.fixture(scope="session")
def georgian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.txt and test.txt of a made-up language in Georgian letters, with some English among it."""
    folder = tmp_path_factory.mktemp("georgian")
    for seed, name in enumerate(("train.txt", "test.txt")):
        text = speech("აბგდევზთიკლმნოპ", seed=seed) + "the cat in the hat hears them\n" * 40
        (folder / name).write_text(text, encoding="utf-8")
    return folder
