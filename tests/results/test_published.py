"""Published scores: the tables as the original gives them, and each only beside a run of the same kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwen7b.results import SavedRun, read_runs
from qwen7b.results.published import MAIN, PRECISIONS, Beside, beside, published_rows
from qwen7b.results.report import markdown_report, page_report
from qwen7b.tasks import TASKS, TaskPlan
from saved_runs import record, write_run

WHOLE = {
    "mmlu": {"items": 14042, "procedure": "original-2023-08"},
    "ceval": {"items": 1346, "split": "val", "procedure": "original-2023-08"},
    "gsm8k": {"items": 1319, "chat": True, "shots": 4, "procedure": "original-2023-08"},
}


def run_of(tmp_path: Path, task: str, **changes: Any) -> SavedRun:
    write_run(tmp_path, [record(0)], task=task, **changes)
    return read_runs(tmp_path)[task]


def scores(found: Beside) -> dict[str, float]:
    return {f"{row.model} {row.precision}".strip(): row.score for row in found.comparable}


def test_a_whole_run_by_the_releases_procedure_stands_beside_the_main_table(tmp_path: Path) -> None:
    found = scores(beside(run_of(tmp_path, "mmlu", **WHOLE["mmlu"])))
    assert found == {model: row[0] for model, row in MAIN.items()}
    assert len(found) == 10 and found["Qwen-7B"] == 56.7


@pytest.mark.parametrize(
    ("task", "changes", "obstacle"),
    [
        ("mmlu", {"procedure": "standard"}, "its procedure is original-2023-08"),
        ("mmlu", {"procedure": "original-2023-12"}, "its procedure is original-2023-08"),
        ("mmlu", {"shots": 0}, "it is 5-shot"),
        ("mmlu", {"chat": True}, "it was not asked in a chat"),
        ("mmlu", {"items": 3511}, "it is of all 14,042 items, the run of 3,511"),
        ("mmlu", {"split": "val"}, "it is of the split test"),
    ],
)
def test_another_run_stands_apart_with_the_reason(
    tmp_path: Path, task: str, changes: dict[str, Any], obstacle: str
) -> None:
    found = beside(run_of(tmp_path, task, **WHOLE[task] | changes))
    assert found.comparable == ()
    reasons = {(row.model, row.score): why for row, why in found.apart}
    assert reasons["LLaMA-7B", 35.1] == (obstacle,)


def test_the_two_splits_of_ceval_are_never_mixed(tmp_path: Path) -> None:
    assert scores(beside(run_of(tmp_path, "ceval", **WHOLE["ceval"]))) == {"Qwen-7B": 60.8}
    test_split = WHOLE["ceval"] | {"split": "test", "items": 12342}
    assert scores(beside(run_of(tmp_path, "ceval", **test_split)))["Qwen-7B"] == 59.6
    chat = {"chat": True, "shots": 0}
    assert scores(beside(run_of(tmp_path, "ceval", **WHOLE["ceval"] | chat))) == {"Qwen-7B-Chat": 54.2}
    assert scores(beside(run_of(tmp_path, "ceval", **test_split | chat))) == {"Qwen-7B-Chat": 54.6}


def test_a_chats_examples_tell_its_scores_apart(tmp_path: Path) -> None:
    assert scores(beside(run_of(tmp_path, "gsm8k", **WHOLE["gsm8k"]))) == {"Qwen-7B-Chat": 43.5}
    assert scores(beside(run_of(tmp_path, "gsm8k", **WHOLE["gsm8k"] | {"shots": 0}))) == {"Qwen-7B-Chat": 41.1}


def test_a_precision_stands_beside_its_own_only(tmp_path: Path) -> None:
    own = scores(beside(run_of(tmp_path, "mmlu", **WHOLE["mmlu"], precision="bfloat16")))
    assert own["Qwen-7B BF16"] == 56.7 and "Qwen-7B Int8" not in own and "Qwen-7B NF4" not in own
    assert [(row.precision, row.score, row.memory) for row in PRECISIONS] == [
        ("BF16", 56.7, "16.2G"),
        ("Int8", 52.8, "10.1G"),
        ("NF4", 48.9, "7.4G"),
    ]


def test_scores_of_plugins_stand_beside_runs_on_the_originals_files_only(tmp_path: Path) -> None:
    own = {"procedure": "original-2023-08", "chat": True, "shots": 0, "split": "v1"}
    found = beside(run_of(tmp_path, "plugin", **own)).comparable
    assert [(row.measure, row.score) for row in found if row.model == "Qwen-7B-Chat"] == [
        *[("", 99.0), ("input ROUGE-L", 0.89), ("false positives", 9.7)]
    ]
    assert [row.score for row in found if row.model == "Qwen-7B-Chat, before a correction"] == [8.5]
    later = beside(run_of(tmp_path, "plugin", **own | {"split": "v20231206", "procedure": "original-2023-12"}))
    assert {row.score for row in later.comparable if row.model == "Qwen-7B-Chat"} == {95.5, 0.9, 11.6}
    apart = beside(run_of(tmp_path, "plugin", **own | {"split": "own", "limit": 3, "items": 6}))
    assert not apart.comparable
    assert apart.apart[0][1] == ("it is of the split v1", "it is of all items, the run of 6")
    run = replace(
        run_of(tmp_path, "plugin", **own),
        summary={"score": 50.0, "more": {"input ROUGE-L": 0.4567, "false positives": 10.0}},
    )
    text = markdown_report([run])
    assert "| **input ROUGE-L of this run** | **0.457** | |\n| GPT-4 | 0.900 | |" in text
    assert "| Qwen-7B-Chat, before a correction | 8.500 | |" in text and "| GPT-4 | 95.0 |" in text
    page = page_report([run])
    assert '<tr><td>this run</td><td class="number">0.457</td></tr>' in page and page.count("<tbody>") == page.count(
        "</tbody>"
    )


@pytest.mark.parametrize("row", published_rows(), ids=lambda row: f"{row.measured.task}-{row.model}{row.precision}")
def test_every_row_can_be_measured_by_its_task(row: Any) -> None:
    measured = row.measured
    if measured.task not in TASKS:
        pytest.skip(f"there is no task {measured.task}")
    task = TASKS[measured.task]
    plan = TaskPlan(procedure=measured.procedure, chat=measured.chat, split=measured.split, shots=measured.shots)
    assert task.completed(plan).split == measured.split
