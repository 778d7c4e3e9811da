"""The recipe for many machines, run on this one: what it keeps is what the verbs keep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data.texts import CHINESE, ENGLISH, PROGRAM, SHORT
from qwen7b.data import CleaningSettings, Intake, Sources, clean_corpus, dedup_corpus, read_documents

pytest.importorskip("datatrove")
pytest.importorskip("rensa")

RECIPE = Path(__file__).parents[2] / "examples" / "clean_at_scale.py"


def ids(folder: Path) -> set[str]:
    return {document.id for document in read_documents(Sources.parsed([str(folder)]), Intake())}


def test_the_recipe_keeps_what_the_verbs_keep(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, text in {
        "a.jsonl": json.dumps({"text": ENGLISH}) + "\n" + json.dumps({"text": SHORT}) + "\n",
        "b.txt": CHINESE,
        "c.py": PROGRAM,
        "d.txt": CHINESE,
        "e.txt": SHORT,
    }.items():
        (raw / name).write_text(text)
    out = tmp_path / "out"
    command = [sys.executable, str(RECIPE), str(raw), "--out", str(out), "--tasks", "2", "--workers", "2"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    clean_corpus(Sources.parsed([str(raw)]), tmp_path / "clean", settings=CleaningSettings())
    assert ids(out / "clean") == ids(tmp_path / "clean") and len(ids(out / "clean")) == 4
    dedup_corpus(Sources.parsed([str(tmp_path / "clean")]), tmp_path / "dedup")
    kept = ids(out / "deduplicated")
    assert len(kept) == len(ids(tmp_path / "dedup")) == 3
    assert len(kept & {"raw/b.txt", "raw/d.txt"}) == 1  # which of the two datatrove keeps is its own choice
    stats = json.loads((out / "logs" / "clean" / "stats.json").read_text("utf-8"))
    (rules,) = [step["stats"] for step in stats if "qwen7b rules" in step["name"]]
    assert rules["dropped_gopher-repetition"]["total"] == 2
