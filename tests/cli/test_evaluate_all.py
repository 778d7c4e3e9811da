"""`eval all`: several tasks by one model, and what one that fails leaves of the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from qwen7b import Qwen
from qwen7b.cli.loading_options import Loading

Run = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folders of MMLU, C-Eval and GSM8K; of all subjects, with a question each."""
    from qwen7b.tasks import TASKS
    from qwen7b.tasks.choice import ChoiceTask

    for name, split in (("mmlu", "test"), ("ceval", "val")):
        task = TASKS[name]
        assert isinstance(task, ChoiceTask)
        for folder, count in (("dev", 5), (split, 1)):
            (tmp_path / name / folder).mkdir(parents=True)
            for subject in task.subjects():
                rows = "".join(f"in {number},the,inn,hell,There,B\n" for number in range(count))
                if name == "ceval":
                    rows = "".join(f"{number},{row}\n" for number, row in enumerate(rows.splitlines()))
                    rows = f"id,question,A,B,C,D,answer\n{rows}"
                (tmp_path / name / folder / f"{subject}_{folder}.csv").write_text(rows, "utf-8")
    (tmp_path / "gsm8k").mkdir()
    for part, count in (("test", 1), ("train", 6)):
        lines = "".join(
            json.dumps({"question": f"in {number}?", "answer": f"the\n#### {number}"}) + "\n" for number in range(count)
        )
        (tmp_path / "gsm8k" / f"{part}.jsonl").write_text(lines, "utf-8")
    return tmp_path


@pytest.fixture
def run_all(run: Run, data: Path, tiny_chat_checkpoint: Path) -> Run:
    common = ("--data", str(data), "--model", str(tiny_chat_checkpoint), "--context-length", "1024")
    return lambda *arguments: run("eval", "all", *common, *arguments)


def test_tasks_whose_folders_are_there_run_on_one_model(
    run_all: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Loading] = []
    load = Loading.load

    def counted_load(loading: Loading) -> Qwen:
        loads.append(loading)
        return load(loading)

    monkeypatch.setattr(Loading, "load", counted_load)
    result = run_all("--tasks", "mmlu,ceval", "--out", str(data / "out"))
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("MMLU (standard, test, 5-shot, base, q8): ")]
    header = lines.index("task   procedure  split  shots  items  score")
    assert lines[header + 1].startswith("mmlu   standard   test   5      57     ")
    assert lines[header + 2].startswith("ceval  standard   val    5      52     ") and "(95 %: " in lines[header + 2]
    assert len(loads) == 1
    for task in ("mmlu", "ceval"):
        assert json.loads((data / "out" / f"{task}.json").read_text("utf-8"))["task"] == task
        assert len((data / "out" / f"{task}.jsonl").read_text("utf-8").splitlines()) > 50


@pytest.mark.filterwarnings("ignore:.*not the official")
def test_a_task_with_bad_files_leaves_the_others(run_all: Run, data: Path) -> None:
    (data / "ceval" / "val" / "law_val.csv").write_text("id,question,A,B,C,D,answer\n1,?,a,b,c,d,E\n", "utf-8")
    (data / "gsm8k" / "test.jsonl").unlink()
    (data / "humaneval").mkdir()
    result = run_all("--json")
    assert result.exit_code == 1
    (document,) = json.loads(result.stdout)
    assert document["task"] == "mmlu" and document.keys() >= {
        *("task", "procedure", "split", "score", "interval", "items", "groups", "abstained", "signature")
    }
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    assert "error: ceval: " in errors[0] and "law_val.csv, line 2: the answer should be A, B, C or D" in errors[0]
    assert f"error: gsm8k: {data / 'gsm8k' / 'test.jsonl'} is not there: fetch the files by" in errors[1]
    assert "error: humaneval: " in errors[2] and "HumanEval.jsonl.gz is not there" in errors[2]


def test_results_that_are_there_already_fail_their_task_alone(run_all: Run, data: Path) -> None:
    out = ("--out", str(data / "out"))
    assert run_all("--tasks", "mmlu", *out).exit_code == 0
    result = run_all("--tasks", "mmlu,ceval", *out)
    assert result.exit_code == 1 and "error: mmlu: " in result.stderr and "has results already" in result.stderr
    assert (data / "out" / "ceval.json").exists() and "\nceval " in result.stdout
    assert run_all("--tasks", "mmlu,ceval", *out, "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "mmlu,arc"], "--tasks takes one or more of mmlu, ceval"),
        (["--subjects", "law"], "No such option: --subjects"),
        (["--dry-run"], "No such option: --dry-run"),
        (["--data", "/none"], "/none has no folder of a task, such as mmlu"),
    ],
)
def test_mistakes_are_one_line(run_all: Run, arguments: list[str], message: str) -> None:
    result = run_all(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1


def test_every_task_has_a_folder_and_most_a_public_home() -> None:
    from qwen7b.tasks import TASKS

    for name, task in TASKS.items():
        home = task.home()
        if home is None:
            assert name == task.folder_name() and name in ("plugin", "hf-agent", "bfcl")  # written, shipped, installed
        else:
            assert name in home.tasks and task.folder_name() == home.name
