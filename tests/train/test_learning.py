"""A model really learns: from random weights to foretelling texts that it has not seen, within seconds."""

from __future__ import annotations

import random
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.sharding import write_shards
from qwen7b.data.shards import Shards
from qwen7b.text import Tokenizer
from qwen7b.train.compressors import bits_after
from qwen7b.train.optimizer_settings import Muon
from qwen7b.train.pretraining import open_data, pretrain
from qwen7b.train.recipe import Corpus, PretrainRecipe, Shape, Training, Validation
from qwen7b.train.recipe_file import recipe_text
from qwen7b.train.run_log import read_log
from qwen7b.train.schedule import WarmupStableDecay
from qwen7b.train.validation import text_of
from qwen7b.vocab.byte_pairs import train_vocabulary, write_vocabulary

pytest.importorskip("rustbpe")
pytest.importorskip("tomlkit")

REACHED = 3.5
"""The bits a byte that the run reaches with room to spare, on the library of Python 3.11."""

RECIPE = PretrainRecipe(
    model=Shape(hidden_size=128, num_layers=3, num_heads=4, feed_forward_size=352, family="qwen2", tied_head=True),
    corpus=Corpus(tokenizer="tokenizer.json", shards=("shards",), length=128, rows=16, micro_rows=16),
    training=Training(
        steps=60,
        save_every=60,
        precision="float32",
        optimizer=Muon(learning_rate=4e-3),
        schedule=WarmupStableDecay(warmup_steps=10, decay_fraction=0.4),
    ),
    validation=Validation(shards="held-out", every=20, max_tokens=10_000, prompts=("import ",), sample_tokens=16),
)


def test_bits_per_byte_of_unseen_programs_fall(tmp_path: Path) -> None:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = [file.read_text("utf-8", errors="replace") for file in files]
    assert len(texts) > 100
    held_out, seen = texts[::10], [text for number, text in enumerate(texts) if number % 10]
    vocabulary = train_vocabulary(seen, num_tokens=1024)
    write_vocabulary(vocabulary, tmp_path / "tokenizer.json")
    tokenizer = Tokenizer(vocabulary)
    for name, part in (("shards", seen), ("held-out", held_out)):
        write_shards(map(tokenizer.encode, part), tmp_path / name, tokenizer=tokenizer)
    (tmp_path / "recipe.toml").write_text(recipe_text(RECIPE), encoding="utf-8")
    pretrain(tmp_path / "recipe.toml", tmp_path / "run")
    looks = [entry for entry in read_log(tmp_path / "run" / "log.jsonl") if "bits_per_byte" in entry]
    bits = [entry["bits_per_byte"] for entry in looks]
    assert bits[0] > bits[1] > bits[2]
    assert bits[-1] < REACHED or sys.version_info[:2] != (3, 11), bits
    # How often each token occurs is learned at once; what is learned here is what follows what.
    ids, asked = (
        np.concatenate([*Shards([tmp_path / name], tokenizer=tokenizer).documents()]) for name in ("shards", "held-out")
    )
    counts, asked = np.bincount(ids, minlength=1024) + 1, asked[:10_000]
    by_frequency = -np.log2(counts / counts.sum())[asked].sum() / len(text_of(asked.tolist(), tokenizer))
    assert bits[-1] < 0.9 * by_frequency, (bits, by_frequency)


CHAIN = replace(
    RECIPE,
    model=replace(RECIPE.model, hidden_size=64, num_layers=2, num_heads=2, feed_forward_size=128),
    corpus=replace(RECIPE.corpus, length=64),
    training=replace(
        RECIPE.training,
        steps=70,
        optimizer=Muon(learning_rate=2e-2),
        schedule=WarmupStableDecay(warmup_steps=5, decay_fraction=0.4),
    ),
    validation=replace(RECIPE.validation, every=70, prompts=()),
)


def chains_of_words(*, count: int) -> Iterator[str]:
    """Texts of 128 invented words, each of which is followed by one of four others: two bits a word."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(4, 9))) for _ in range(128)]
    followers = {word: draw.sample(words, 4) for word in words}
    for _ in range(count):
        text = [words[0]]
        while len(text) < 500:
            text.append(draw.choice(followers[text[-1]]))
        yield " ".join(text)


def test_unseen_text_takes_fewer_bits_than_by_bz2_after_the_same_past(tmp_path: Path) -> None:
    pytest.importorskip("pyppmd")
    texts = [*chains_of_words(count=130)]
    vocabulary = train_vocabulary(texts[:120], num_tokens=640)
    write_vocabulary(vocabulary, tmp_path / "tokenizer.json")
    tokenizer = Tokenizer(vocabulary)
    for name, part in (("shards", texts[:120]), ("held-out", texts[120:])):
        write_shards(map(tokenizer.encode, part), tmp_path / name, tokenizer=tokenizer)
    (tmp_path / "recipe.toml").write_text(recipe_text(CHAIN), encoding="utf-8")
    pretrain(tmp_path / "recipe.toml", tmp_path / "run")
    *_, last = read_log(tmp_path / "run" / "log.jsonl")
    data = open_data(tmp_path / "recipe.toml")
    assert data.held_out is not None
    past = data.read_before(CHAIN.training.steps)
    compressed = bits_after(past, data.held_out.text)
    assert len(past) > 400_000 and compressed["bz2"] < 0.5
    assert last["bits_per_byte"] < compressed["bz2"], compressed
