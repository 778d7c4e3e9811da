"""`eval report`, and the report that a run writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from saved_runs import record, write_run

Run = Callable[..., Result]


def test_a_folders_report_is_written_into_it(run: Run, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [record(0)])
    result = run("eval", "report", str(folder), "--json")
    assert json.loads(result.stdout) == [str(folder / "report.md"), str(folder / "report.html")]
    assert (folder / "report.html").is_file()


def test_a_report_of_several_folders_needs_a_place(run: Run, tmp_path: Path) -> None:
    folders = [str(write_run(tmp_path / name, [record(0)])) for name in ("first", "second")]
    result = run("eval", "report", *folders)
    assert result.exit_code == 1 and "needs a place: name it by --out" in result.stderr
    assert run("eval", "report", *folders, "--out", str(tmp_path / "out")).exit_code == 0
    assert (tmp_path / "out" / "report.md").read_text("utf-8").count("## MMLU") == 2


def test_a_run_writes_its_report(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    for split, count in (("dev", 5), ("test", 2)):
        (tmp_path / "mmlu" / split).mkdir(parents=True)
        rows = [f"What is {n}?,1,2,3,4,A\n" for n in range(count)]
        (tmp_path / "mmlu" / split / f"anatomy_{split}.csv").write_text("".join(rows), "utf-8")
    where = ("--data", str(tmp_path / "mmlu"), "--model", str(tiny_chat_checkpoint), "--out", str(tmp_path / "out"))
    result = run("eval", "mmlu", *where, "--subjects", "anatomy")
    assert result.exit_code == 0, result.output
    assert "is in report.md and report.html there" in result.stdout
    assert "anatomy/1" in (tmp_path / "out" / "report.html").read_text("utf-8")
