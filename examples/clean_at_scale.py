"""Cleans and deduplicates a corpus with datatrove's executors: on this machine, by Slurm or by Ray.

    python examples/clean_at_scale.py crawl/ --out corpus --tasks 8 --workers 2
    python examples/clean_at_scale.py /shared/crawl --out /shared/corpus --tasks 1000 --executor slurm --partition cpu

The steps are those of `qwen7b data clean` and datatrove's own MinHash, with the parameters of `qwen7b data dedup` but
without its check of the n-grams: where signatures meet in a bucket, all but one document go. Every task does every
n-th file; a task that fails is run again alone by the same command. All paths must be visible to all machines.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.utils.hashing import HashConfig

from qwen7b.data import CleaningSettings, NearCopySettings, Sources
from qwen7b.data.datatrove_steps import CleanDocuments, ComparedWords, ReadSources, WriteParts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sources", nargs="+", help="files and folders, perhaps as NAME=PATH")
    parser.add_argument("--out", type=Path, required=True, help="a folder for what each step writes")
    parser.add_argument("--languages", default="", help="keep only these, as in zh,en,code")
    parser.add_argument("--tasks", type=int, default=2, help="how many parts the files are dealt to")
    parser.add_argument("--workers", type=int, default=2, help="tasks at once, on one machine")
    parser.add_argument("--executor", choices=["local", "slurm", "ray"], default="local")
    parser.add_argument("--partition", default="cpu", help="of Slurm")
    parser.add_argument("--time", default="04:00:00", help="of Slurm, for each task")
    arguments = parser.parse_args()
    last: Any = None
    for name, tasks, steps in plan(
        Sources.parsed(arguments.sources),
        arguments.out,
        CleaningSettings(languages=frozenset(filter(None, arguments.languages.split(",")))),
        tasks=arguments.tasks,
    ):
        last = executor(arguments, name, tasks, steps, last)
    last.run()


def plan(
    sources: Sources, out: Path, settings: CleaningSettings, *, tasks: int
) -> list[tuple[str, int, list[PipelineStep]]]:
    """The five pipelines in their order: a name, the number of tasks, and the steps of each."""
    same = NearCopySettings()
    config = MinhashConfig(
        n_grams=same.ngram,
        num_buckets=same.bands,
        hashes_per_bucket=same.rows,
        seed=same.seed,
        hash_config=HashConfig(hash_fc="sha1"),  # datatrove 0.10 gives xxhash texts, which xxhash 4 does not take
    )
    minhash = {name: str(out / "minhash" / name) for name in ("signatures", "buckets", "remove")}
    # A later step reads what each task wrote, as one file for each task: its ranks must be the same ones.
    cleaned = TaskParts(out / "clean")
    return [
        ("clean", tasks, [ReadSources(sources), CleanDocuments(settings), WriteParts(out / "clean")]),
        (
            "signatures",
            tasks,
            [cleaned, MinhashDedupSignature(minhash["signatures"], config, language=ComparedWords())],
        ),
        ("buckets", same.bands, [MinhashDedupBuckets(minhash["signatures"], minhash["buckets"], config=config)]),
        ("clusters", 1, [MinhashDedupCluster(minhash["buckets"], minhash["remove"], config)]),
        ("filter", tasks, [cleaned, MinhashDedupFilter(minhash["remove"]), WriteParts(out / "deduplicated")]),
    ]


class TaskParts(PipelineStep):
    """Reads what the task of the same rank has written."""

    name, type = "qwen7b task's parts", "📖 - READER"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Any:
        folder = self.folder / f"task-{rank:05d}"
        if any(folder.glob("*.jsonl.gz")):
            yield from ReadSources(Sources.parsed([str(folder)])).run()


def executor(arguments: argparse.Namespace, name: str, tasks: int, steps: list[PipelineStep], last: Any) -> Any:
    """The executor of one pipeline, which runs after the one before it."""
    logs = str(arguments.out / "logs" / name)
    if arguments.executor == "slurm":
        from datatrove.executor import SlurmPipelineExecutor

        return SlurmPipelineExecutor(
            pipeline=steps,
            tasks=tasks,
            time=arguments.time,
            partition=arguments.partition,
            job_name=f"qwen7b_{name}",
            logging_dir=logs,
            depends=last,
        )
    if arguments.executor == "ray":
        from datatrove.executor import RayPipelineExecutor

        return RayPipelineExecutor(
            pipeline=steps, tasks=tasks, workers=arguments.workers, logging_dir=logs, depends=last
        )
    from datatrove.executor import LocalPipelineExecutor

    return LocalPipelineExecutor(pipeline=steps, tasks=tasks, workers=arguments.workers, logging_dir=logs, depends=last)


if __name__ == "__main__":
    main()
