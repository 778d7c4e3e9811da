"""Submissions: what C-Eval's site takes, also after a run that was resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qwen7b import Qwen
from qwen7b.errors import SettingError
from qwen7b.evals import evaluate
from qwen7b.tasks import TASKS, TaskPlan

CEVAL = TASKS["ceval"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects of C-Eval, the answers of whose test split nobody knows; ids need not begin at 0."""
    folder = tmp_path_factory.mktemp("ceval")
    for split, ids, answer in (("dev", range(5), ",A"), ("test", (0, 2, 10), "")):
        (folder / split).mkdir()
        for subject in ("law", "logic"):
            header = "id,question,A,B,C,D" + (",answer" if answer else "")
            rows = "".join(f"{n},{subject} {n}?,in,the,inn,hell{answer}\n" for n in ids)
            (folder / split / f"{subject}_{split}.csv").write_text(f"{header}\n{rows}", "utf-8")
    return folder


def test_letters_stand_by_subject_and_id(
    qwen: Qwen, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = TaskPlan(split="test", subjects=("law", "logic"))
    file, out = tmp_path / "answers.json", tmp_path / "out"
    result = evaluate(qwen, CEVAL, folder, plan, out=out, submission=file)
    assert result.score is None
    records = [json.loads(line) for line in (out / "ceval.jsonl").read_text("utf-8").splitlines()]
    predicted = {record["id"]: record["predicted"] for record in records}
    answers = json.loads(file.read_text("utf-8"))
    assert answers == {
        subject: {number: predicted[f"{subject}/{row}"] for row, number in enumerate(("0", "2", "10"))}
        for subject in ("law", "logic")
    }
    assert {letter for own in answers.values() for letter in own.values()} <= set("ABCD")
    assert "answers.json lacks 50 of C-Eval's 52 subjects" in capsys.readouterr().err
    lines = (out / "ceval.jsonl").read_bytes().splitlines(keepends=True)
    (out / "ceval.jsonl").write_bytes(b"".join(lines[:3]))
    file.unlink()
    evaluate(qwen, CEVAL, folder, plan, out=out, resume=True, submission=file)
    assert json.loads(file.read_text("utf-8")) == answers


@pytest.mark.parametrize(
    ("task", "split", "file", "message"),
    [
        ("ceval", "val", "answers.json", r"a submission of ceval answers the split test, found val"),
        ("mmlu", "test", "answers.json", r"mmlu takes no submission: all its answers are public"),
        ("wmt22-en-zh", "test", "answers.json", r"wmt22-en-zh takes no submission"),
        ("ceval", "test", "none/answers.json", r"cannot be written to .*: there is no folder .*none"),
        ("ceval", "test", "/proc/answers.json", r"cannot be written to /proc/answers.json: "),
        ("ceval", "test", "", r"cannot be written to .*: it is a folder"),
    ],
)
def test_what_cannot_be_submitted_is_refused_before_any_work(
    qwen: Qwen, tmp_path: Path, task: str, split: str, file: str, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        evaluate(qwen, TASKS[task], Path("/none"), TaskPlan(split=split), submission=tmp_path / file)
    with pytest.raises(SettingError, match=r"a submission of ceval has all questions, found the first 3: drop limit"):
        evaluate(qwen, CEVAL, Path("/none"), TaskPlan(split="test", limit=3), submission=tmp_path / "answers.json")
