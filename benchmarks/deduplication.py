"""How fast `qwen7b data dedup` is, how much memory it takes, and which copies it finds.

    python benchmarks/deduplication.py --megabytes 100 --json

The corpus is made by program: texts of words drawn by Zipf's law, of about 2,000 characters, a tenth of them copies and
a tenth near copies. Recall and precision are those of planted pairs of known Jaccard similarity.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from rows import Row, print_rows

PAIRS = 1000
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from qwen7b.data import Sources, dedup_corpus
import qwen7b.data.copies, rensa, datatrove.utils.text, matplotlib.figure
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
card = dedup_corpus(Sources.parsed([sys.argv[1]]), Path(sys.argv[2]))
seconds = time.perf_counter() - start
used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": seconds, "before": before, "after": after, "used": used,
                  "kept": card["kept"]["documents"],
                  "documents": card["before"]["documents"]}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=100, help="of text in the corpus")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print_rows([*measure_speed(arguments.megabytes), *measure_recall()], as_json=arguments.json)


def measure_speed(megabytes: int) -> Iterator[Row]:
    """Time and memory of a run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.jsonl"
        num_bytes = write_corpus(path, megabytes * 10**6)
        command = [sys.executable, "-c", _CHILD, str(path), str(Path(folder) / "out")]
        child = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    figures = {name: float(child[name]) for name in ("documents", "kept", "seconds")}
    yield Row("MB of text a second", num_bytes / 1e6 / child["seconds"], "", figures)
    yield Row("MB of text for a second of the processor", num_bytes / 1e6 / child["used"], "", {})
    figures = {"MB of text": num_bytes / 1e6, "before it began": child["before"] / 1024}
    yield Row("MiB of memory at most", child["after"] / 1024, "<= 954 for 1 GB", figures)


def write_corpus(path: Path, num_bytes: int) -> int:
    """Write a corpus of so many bytes of text, and return how many there are."""
    generator = np.random.default_rng(0)
    vocabulary = np.array(["".join(chr(ord("a") + int(digit)) for digit in f"{n:05o}") for n in range(50_000)])
    written, recent = 0, "none"
    with path.open("w", encoding="utf-8") as file:
        while written < num_bytes:
            for row in np.minimum(generator.zipf(1.2, (500, 400)) - 1, 49_999):
                draw = generator.random()
                if draw < 0.8:
                    recent = text = " ".join(vocabulary[row])
                else:
                    text = recent if draw < 0.9 else recent + " and a few more words at the end"
                file.write(json.dumps({"text": text}) + "\n")
                written += len(text)
    return written


def measure_recall() -> Iterator[Row]:
    """What is found of planted pairs, by their similarity, and how many of all found pairs are true ones."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from data.planted import planted_pair
    from qwen7b.data import Document, NearCopySettings
    from qwen7b.data.copies import CopyFinder

    random = Random(0)
    similarities = (0.5, 0.6, 0.7, 0.74, 0.76, 0.8, 0.9, 0.95, 1.0)  # also on either side of the limit of 0.75
    planted = [(similarity, planted_pair(similarity, random)) for similarity in similarities for _ in range(PAIRS)]
    texts = [text for _, pair in planted for text in pair]
    with tempfile.TemporaryDirectory() as folder, CopyFinder(Path(folder), NearCopySettings()) as finder:
        for start in range(0, len(texts), 1000):
            finder.add([Document(id=str(start), text=text, source="") for text in texts[start : start + 1000]])
        kept_for = finder.find().kept_for.reshape(-1, 2)
    joined = kept_for[:, 0] == kept_for[:, 1]
    is_own = (kept_for // 2 == np.arange(len(planted))[:, None]).all(axis=1)
    goals = {0.8: ">= 0.90", 0.9: ">= 0.999"}
    for similarity in similarities:
        of_it = np.array([other == similarity for other, _ in planted])
        yield Row(
            f"of pairs of similarity {similarity} found", float(joined[of_it].mean()), goals.get(similarity, ""), {}
        )
    true = joined & is_own & np.array([similarity >= NearCopySettings().min_similarity for similarity, _ in planted])
    yield Row("precision", float(true.sum() / max(joined.sum() + (~is_own).sum(), 1)), ">= 0.99", {})


if __name__ == "__main__":
    main()
