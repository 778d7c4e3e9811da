"""Shards for tests, out of a few texts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qwen7b.data.shards import ShardIndex, ShardWriter
from qwen7b.text import Tokenizer


def write_shards(texts: Iterable[list[int]], folder: Path, *, tokenizer: Tokenizer, **settings: int) -> ShardIndex:
    with ShardWriter(folder, tokenizer=tokenizer, **settings) as writer:
        for ids in texts:
            writer.add(ids)
    return writer.index
