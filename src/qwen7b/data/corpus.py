"""Runs over a whole corpus: sources in, a folder of JSON lines with a card out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qwen7b.config.checked import whole_number
from qwen7b.data.card import card_of, write_card
from qwen7b.data.cleaning import Cleaner, CleaningSettings
from qwen7b.data.document import Document
from qwen7b.data.intake import Intake
from qwen7b.data.json_parts import PartWriter
from qwen7b.data.parallel import clean_documents
from qwen7b.data.sources import Sources, read_documents
from qwen7b.data.tally import Tally
from qwen7b.data.weights import Weights
from qwen7b.errors import SettingError
from qwen7b.system.figure import require_matplotlib
from qwen7b.system.whole_file import written_folder


def clean_corpus(
    sources: Sources,
    target: Path,
    *,
    settings: CleaningSettings | None = None,
    weights: Weights | None = None,
    skips: bool = False,
    jobs: int = 1,
) -> dict[str, Any]:
    """Write the documents that the rules keep, as often as `weights` say, into the folder `target`; return its card.

    The folder appears when it is complete. With `skips` what cannot be read is counted, else it is an error. Raises
    SettingError, DataError and PromptError.

    >>> clean_corpus(Sources.parsed(["web=crawl/", "books.jsonl.gz"]), Path("clean"))["kept"]  # doctest: +SKIP
    """
    whole_number("jobs", jobs, minimum=1)
    settings, weights = settings or CleaningSettings(), weights or Weights()
    rules = {rule.name: rule.origin for rule in Cleaner.made(settings).rules}
    intake, tally, written = Intake(skips=skips), Tally(), Tally()
    with new_corpus(target) as folder:
        cleaned = clean_documents(read_documents(sources, intake, doing="Cleaning"), settings, tally=tally, jobs=jobs)
        parts = write_documents(cleaned, folder, weights=weights, written=written)
        card = card_of(
            verb="clean",
            sources=[{"name": source.name, "path": str(source.path)} for source in sources.sources],
            settings={
                "reading": asdict(sources.reading),
                "rules": list(settings.rules),
                "languages": sorted(settings.languages),
                "min_probability": settings.min_probability,
                "benchmarks": list(map(str, settings.benchmarks)),
                "ngram": settings.ngram,
                **weight_settings(weights, tally),
            },
            intake=intake,
            tally=tally,
            written=written,
            rules=rules,
            more={"parts": parts},
        )
        write_card(card, folder)
    return card


@contextmanager
def new_corpus(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when it is complete. Raises SettingError where something is there."""
    require_matplotlib(extra="train")
    target = target.expanduser()
    if target.exists() or target.is_symlink():
        raise SettingError(f"{target} is there already: name a folder that is not, or remove it")
    if not target.absolute().parent.is_dir():
        raise SettingError(f"there is no folder {target.absolute().parent} for {target.name}: make it first")
    with written_folder(target) as folder:
        yield folder


def write_documents(documents: Iterable[Document], folder: Path, *, weights: Weights, written: Tally) -> int:
    """Write documents as often as weights say, count them, and return the number of parts."""
    with PartWriter(folder) as writer:
        for document in documents:
            for copy in weights.drawn(document):
                written.was_kept(copy)
                writer.write(copy)
    return writer.num_parts


def weight_settings(weights: Weights, tally: Tally) -> Mapping[str, Any]:
    names = {name for group in tally.before for name in (*group, ":".join(group))}
    return {
        "weights": dict(weights.weights),
        "weights_seed": weights.seed,
        "weights_without_documents": sorted(set(weights.weights) - names),
    }
