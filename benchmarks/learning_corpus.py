"""Texts become the corpus of `learning.py`, by the verbs: clean, deduplicated, decontaminated, in tokens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from qwen7b.data import Intake, Sources, read_documents
from qwen7b.data.tokenizing import is_held_out

HELD_OUT_SHARE = 0.01
TOKENS = 8192
RULES_OF_WEB_PAGES = "gopher-quality,c4,fineweb"
"""Handbooks have too many tables and examples for these: see docs/data.md."""
NGRAM = 50
"""A document that shares so many words in a row with held-out text is left out: 13, as in benchmarks' questions, would
be any sentence that all pages of a handbook have."""


def printed(*arguments: str | Path) -> str:
    """Run a verb of ours in one thread, and return what it prints."""
    print("qwen7b", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "qwen7b", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def prepare_corpus(texts: Path, work: Path) -> None:
    """Make `tokenizer.json`, `shards` and `held-out` in a folder, of texts by source; what is there stays."""
    work.mkdir(parents=True, exist_ok=True)
    clean, deduplicated, rest, alone = (work / name for name in ("clean", "deduplicated", "rest", "decontaminated"))
    held_out = work / "held-out.jsonl"
    sources = [f"{path.name}={path}" for path in sorted(texts.iterdir()) if not path.name.startswith(".")]
    if not clean.exists():
        choice = ("--languages", "zh,en,code", "--without", RULES_OF_WEB_PAGES, "--errors", "skip")
        printed("data", "clean", *sources, *choice, "--out", clean)
    if not deduplicated.exists():
        printed("data", "dedup", clean, "--out", deduplicated)
    if not rest.exists():
        split(deduplicated, rest, held_out)
    if not alone.exists():
        by = ("--rules", "no-words", "--benchmarks", held_out, "--ngram", str(NGRAM))
        printed("data", "clean", rest, *by, "--out", alone)
    tokenizer = work / "tokenizer.json"
    if not tokenizer.exists():
        printed("vocab", "train", alone, "--tokens", str(TOKENS), "--out", tokenizer)
    for source, target in ((alone, work / "shards"), (held_out, work / "held-out")):
        if not target.exists():
            printed("data", "tokenize", source, "--tokenizer", tokenizer, "--out", target)


def split(folder: Path, rest: Path, held_out: Path) -> None:
    """Write some documents to a file and all others to a folder, as `data tokenize --held-out` would choose them."""
    partial = rest.with_name(rest.name + ".partial")
    partial.mkdir(exist_ok=True)
    with held_out.open("w", encoding="utf-8") as chosen, (partial / "rest.jsonl").open("w", encoding="utf-8") as others:
        for document in read_documents(Sources.parsed([str(folder)]), Intake()):
            if is_held_out(document.text, HELD_OUT_SHARE):
                chosen.write(json.dumps({"text": document.text}, ensure_ascii=False) + "\n")
            else:
                others.write(json.dumps(document.as_json(), ensure_ascii=False) + "\n")
    partial.rename(rest)
