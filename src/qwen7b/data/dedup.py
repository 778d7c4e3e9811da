"""Takes copies and near copies out of a corpus: it is read twice, once to compare, once to write what stays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qwen7b.data.card import card_of, write_card
from qwen7b.data.copies import Copies, CopyFinder
from qwen7b.data.corpus import new_corpus, weight_settings, write_documents
from qwen7b.data.document import Document
from qwen7b.data.intake import Intake
from qwen7b.data.minhash import NearCopySettings
from qwen7b.data.parallel import batches
from qwen7b.data.sources import Sources, read_documents
from qwen7b.data.tally import Tally
from qwen7b.data.weights import Weights
from qwen7b.errors import DataError

EXACT, NEAR = "exact-copies", "near-copies"
_ORIGINS = {
    EXACT: "own rule: equal but for case and blanks",
    NEAR: "MinHash LSH, https://arxiv.org/abs/2107.06499, with FineWeb's parameters, and a check of the n-grams",
}
_BATCH = {"max_documents": 2000, "max_characters": 2_000_000}


def dedup_corpus(
    sources: Sources,
    target: Path,
    *,
    settings: NearCopySettings | None = None,
    weights: Weights | None = None,
    skips: bool = False,
) -> dict[str, Any]:
    """Write one document of each cluster of copies into `target`, as often as `weights` say, and return its card.

    What documents are compared by is kept in files beside the target, about three quarters of the texts' size. Raises
    SettingError and DataError.
    """
    settings, weights = settings or NearCopySettings(), weights or Weights()
    intake, tally, written = Intake(skips=skips), Tally(), Tally()
    with new_corpus(target) as folder, tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as scratch:
        with CopyFinder(Path(scratch), settings) as finder:
            for batch in batches(read_documents(sources, intake, doing="Comparing"), **_BATCH):
                finder.add(batch)
            copies = finder.find()
            again = read_documents(sources, Intake(skips=skips), doing="Writing what stays of")
            parts = write_documents(_kept(again, copies, finder, tally), folder, weights=weights, written=written)
        sizes = copies.cluster_sizes()
        card = card_of(
            verb="dedup",
            sources=[{"name": source.name, "path": str(source.path)} for source in sources.sources],
            settings={"reading": asdict(sources.reading), **asdict(settings), **weight_settings(weights, tally)},
            intake=intake,
            tally=tally,
            written=written,
            rules=_ORIGINS,
            more={
                "parts": parts,
                "clusters": {"count": len(sizes), "largest": int(sizes.max(initial=0))},
                "pairs": {"compared": copies.candidates, "similar": copies.confirmed},
            },
        )
        write_card(card, folder)
    return card


def _kept(documents: Iterator[Document], copies: Copies, finder: CopyFinder, tally: Tally) -> Iterator[Document]:
    count = 0
    for number, document in enumerate(documents):
        count += 1
        if count > len(finder) or document.id != finder.id_of(number):
            raise DataError(f"the files changed while they were read, found {document.id!r}: run it again")
        tally.came_in(document)
        kept = int(copies.kept_for[number])
        if kept == number:
            tally.was_kept(document)
            yield document
            continue
        rule = EXACT if copies.is_exact[number] else NEAR
        tally.was_dropped(document, rule, "copy" if rule == EXACT else "near copy", f"of {finder.id_of(kept)}")
    if count < len(finder):
        raise DataError(f"the files changed while they were read, found {count:,} of {len(finder):,}: run it again")
