"""`eval --fetch`: fetched files are found by the task without naming their folder."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from hubs import FETCH_VARIABLES
from standins import FilesHandler, serving

Run = Callable[..., Result]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FETCH_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_fetched_task_runs_without_a_folder(run: Run, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for split in ("dev", "val"):
            rows = "".join(f"{number},in {number}?,a,b,c,d,A\n" for number in range(5))
            archive.writestr(f"{split}/law_{split}.csv", f"id,question,A,B,C,D,answer\n{rows}")
    dry_run = ("eval", "ceval", "--subjects", "law", "--dry-run", "--json")
    before = run(*dry_run)
    assert before.exit_code == 1 and "law_dev.csv is not there: fetch the files by" in before.stderr
    with serving(FilesHandler) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        site.repositories[""] = {"/datasets/ceval/ceval-exam/resolve/main/ceval-exam.zip": file.getvalue()}
        result = run("eval", "--fetch", "ceval")
        assert result.exit_code == 0, result.stderr
        assert result.stdout == f"{cache / 'benchmarks' / 'ceval'}\n"
        elsewhere = run("eval", "--fetch", "ceval", "--data", str(cache / "mine"))
        assert elsewhere.stdout == f"{cache / 'mine'}\n" and (cache / "mine" / "val" / "law_val.csv").exists()
    assert [item["id"] for item in json.loads(run(*dry_run).stdout)] == [f"law/{row}" for row in range(5)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fetch", "mmlo"], "there is no public home of 'mmlo' to fetch from: choose mmlu"),
        (["--fetch", "mmlu", "--offline"], "mmlu is not fetched, as qwen7b is offline"),
        (["--fetch", "mmlu", "ceval"], "options of a task follow its name: qwen7b eval ceval"),
        (["--data", "mmlu", "mmlu"], "options of a task follow its name: qwen7b eval mmlu"),
        (["--data", "mmlu"], "--data names a folder for --fetch TASK"),
    ],
)
def test_mistakes_are_one_line(run: Run, cache: Path, arguments: list[str], message: str) -> None:
    result = run("eval", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1
