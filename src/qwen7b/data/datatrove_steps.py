"""Steps of datatrove's pipelines that read, clean and write as `qwen7b data` does, for its executors.

datatrove runs a pipeline in many tasks, on one machine, by Slurm or by Ray, and tells each its rank and their number.
Files are dealt out by rank, each task writes parts of its own, and what rules drop is in datatrove's statistics. Its
MinHash steps take `ComparedWords` as their language, so that they compare what `qwen7b data dedup` compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from datatrove.data import Document as TroveDocument
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

from qwen7b.data.cleaning import Cleaner, CleaningSettings
from qwen7b.data.document import Document
from qwen7b.data.intake import Intake
from qwen7b.data.json_parts import PartWriter
from qwen7b.data.sources import Sources, read_file
from qwen7b.data.tally import Tally
from qwen7b.data.words import units_of


class ComparedWords(WhitespaceTokenizer):  # type: ignore[misc]  # datatrove has no types
    """The words that texts are compared by; datatrove simplifies texts before it asks for them."""

    def word_tokenize(self, text: str) -> list[str]:
        return units_of(text)


class ReadSources(PipelineStep):  # type: ignore[misc]  # datatrove has no types
    """Reads every file of the sources whose number is the task's rank, modulo the number of tasks."""

    name, type = "qwen7b sources", "📖 - READER"

    def __init__(self, sources: Sources, *, skips: bool = False) -> None:
        super().__init__()
        self.sources, self.skips = sources, skips

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[TroveDocument]:
        intake = Intake(skips=self.skips)
        for source, path, kind in islice(self.sources.files(), rank, None, world_size):
            for document in read_file(source, path, kind, self.sources.reading, intake):
                self.stat_update("documents")
                yield _to_trove(document)
        for problem, count in intake.skipped.items():
            self.stat_update(f"skipped_{problem}", value=count)


class CleanDocuments(PipelineStep):  # type: ignore[misc]  # datatrove has no types
    """Applies the rules; what they drop is counted as dropped_RULE."""

    name, type = "qwen7b rules", "🔻 - FILTER"

    def __init__(self, settings: CleaningSettings) -> None:
        super().__init__()
        self.settings = settings

    def run(self, data: Iterable[TroveDocument], rank: int = 0, world_size: int = 1) -> Iterator[TroveDocument]:
        cleaner = Cleaner(Cleaner.made(self.settings).rules, tally := Tally())
        for document in cleaner.clean(map(_from_trove, data)):
            yield _to_trove(document)
        for (rule, _), dropped in tally.dropped.items():
            self.stat_update(f"dropped_{rule}", value=dropped.amount.documents)


class WriteParts(PipelineStep):  # type: ignore[misc]  # datatrove has no types
    """Writes JSON lines into the folder task-RANK, which is made anew when a task is run again."""

    name, type = "qwen7b parts", "💽 - WRITER"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Iterable[TroveDocument], rank: int = 0, world_size: int = 1) -> Iterator[TroveDocument]:
        folder = self.folder / f"task-{rank:05d}"
        for path in folder.glob("part-*.jsonl.gz"):
            path.unlink()
        with PartWriter(folder) as writer:
            for document in data:
                writer.write(_from_trove(document))
                self.stat_update("written")
                yield document


def _to_trove(document: Document) -> TroveDocument:
    return TroveDocument(text=document.text, id=document.id, metadata={**document.metadata, "source": document.source})


def _from_trove(document: Any) -> Document:
    metadata = dict(document.metadata)
    source = str(metadata.pop("source", ""))
    return Document(id=document.id, text=document.text, source=source, metadata=metadata)
