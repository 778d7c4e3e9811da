"""Cleaning in several processes: batches of documents out, what is kept of them back, in the order they came in."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import lru_cache

from qwen7b.data.cleaning import Cleaner, CleaningSettings
from qwen7b.data.document import Document
from qwen7b.data.tally import Tally

_BATCH_DOCUMENTS = 200
_BATCH_CHARACTERS = 1_000_000


def clean_documents(
    documents: Iterable[Document], settings: CleaningSettings, *, tally: Tally, jobs: int = 1
) -> Iterator[Document]:
    """The documents that the rules keep, counted in `tally`, by `jobs` processes; their number changes no result."""
    if jobs == 1:
        yield from Cleaner(_cleaner(settings).rules, tally).clean(documents)
        return
    _cleaner(settings)  # so that a wrong setting is one error, raised here
    pending: deque[Future[tuple[list[Document], Tally]]] = deque()
    # Processes are not forked: threads of libraries that were used here already would not come along.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for batch in batches(documents):
                pending.append(pool.submit(_clean_batch, settings, batch))
                if len(pending) > 2 * jobs:  # the reader does not run ahead
                    yield from _finished(pending.popleft(), tally)
            while pending:
                yield from _finished(pending.popleft(), tally)
        finally:
            for future in pending:
                future.cancel()


def batches(
    documents: Iterable[Document], *, max_documents: int = _BATCH_DOCUMENTS, max_characters: int = _BATCH_CHARACTERS
) -> Iterator[list[Document]]:
    """Documents in lists that are full as soon as they have so many documents or characters."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) >= max_documents or characters >= max_characters:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _finished(future: Future[tuple[list[Document], Tally]], tally: Tally) -> list[Document]:
    kept, part = future.result()
    tally.join(part)
    return kept


def _clean_batch(settings: CleaningSettings, batch: list[Document]) -> tuple[list[Document], Tally]:
    tally = Tally()
    return list(Cleaner(_cleaner(settings).rules, tally).clean(batch)), tally


@lru_cache(1)
def _cleaner(settings: CleaningSettings) -> Cleaner:
    return Cleaner.made(settings)
