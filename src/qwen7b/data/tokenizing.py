"""A corpus becomes token shards: its documents as token ids, some of them held out to measure a model on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from qwen7b.config.checked import fraction
from qwen7b.data.document import Document
from qwen7b.data.intake import Intake
from qwen7b.data.shards import ShardIndex, ShardWriter
from qwen7b.data.sources import Sources, read_documents
from qwen7b.system.progress import progress
from qwen7b.system.workers import workers
from qwen7b.text import Tokenizer

HELD_OUT = "-held-out"
"""What the name of the folder of held-out documents ends with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizedCorpus:
    """The shards that were written, and what was read for them."""

    shards: ShardIndex
    held_out: ShardIndex | None
    intake: Intake


def tokenize_corpus(
    sources: Sources, folder: Path, *, tokenizer: Tokenizer, held_out: float = 0.0, skips: bool = False
) -> TokenizedCorpus:
    """Write the documents of some sources as token shards into a new folder, in their order.

    The share `held_out` of them goes to another folder instead, whose name ends in "-held-out". A hash of its text says
    which document does, so that equal texts stay together, whatever else the corpus has. `skips` counts what cannot be
    read instead of raising DataError.
    """
    fraction("held_out", held_out)
    intake = Intake(skips=skips)
    with ExitStack() as stack:
        writer = stack.enter_context(ShardWriter(folder, tokenizer=tokenizer))
        other = None
        if held_out:
            other = stack.enter_context(ShardWriter(folder.with_name(folder.name + HELD_OUT), tokenizer=tokenizer))
        threads = stack.enter_context(workers(caller_waits=True))
        report = stack.enter_context(progress("Tokenizing", 0, " tokens"))

        def tasks() -> Iterator[tuple[Document]]:
            for document in read_documents(sources, intake):
                yield (document,)

        def encode(document: Document) -> tuple[bool, list[int]]:
            return other is not None and is_held_out(document.text, held_out), tokenizer.encode(document.text)

        for goes_out, ids in threads.results(encode, tasks()):
            (other if goes_out and other is not None else writer).add(ids)
            report(len(ids))
    return TokenizedCorpus(shards=writer.index, held_out=None if other is None else other.index, intake=intake)


def is_held_out(text: str, share: float) -> bool:
    """Whether a text is among this share of all texts."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return number < share * 2**64
