"""The tasks of multiple choice: prompts as the original's and lm-eval's, and files as they are."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import harness_task
from qwen7b.errors import MissingExtraError, PromptError, SettingError
from qwen7b.evals.preparation import prepared
from qwen7b.tasks.ceval import CEval
from qwen7b.tasks.choice import ChoiceTask
from qwen7b.tasks.cmmlu import Cmmlu
from qwen7b.tasks.item import Item, Letters, Outcome, Reading, Text
from qwen7b.tasks.mmlu import Mmlu
from qwen7b.tasks.procedure import Procedure, TaskPlan

TASKS: dict[str, ChoiceTask] = {task.name: task for task in (Mmlu(), CEval(), Cmmlu())}
ORIGINALS = [Procedure.ORIGINAL_2023_08, Procedure.ORIGINAL_2023_12]


def write_mmlu(folder: Path, *, dev: str | None = None, test: str = "How many?,1,2,None,4,C\n") -> Path:
    """A folder with one subject of MMLU."""
    if dev is None:
        dev = "".join(f"Q{number}?,a{number},b,c,d,B\n" for number in range(5))
    for split, text in (("dev", dev), ("test", test)):
        (folder / split).mkdir(exist_ok=True)
        (folder / split / f"anatomy_{split}.csv").write_bytes(text.encode())
    return folder


def mmlu_items(folder: Path, **settings: object) -> list[Item]:
    task = Mmlu()
    return task.items(folder, task.completed(replace(TaskPlan(subjects=("anatomy",)), **settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize("procedure", ORIGINALS)
def test_prompts_equal_those_of_the_originals_scripts(
    shared: Path, golden_rows: list[dict[str, Any]], procedure: Procedure
) -> None:
    rows = [row for row in golden_rows if row["task"] in TASKS and row["mode"] in ("base", "chat")]
    assert len(rows) == 20
    for row in rows:
        task = TASKS[row["task"]]
        plan = task.completed(TaskPlan(procedure=procedure, chat=row["mode"] == "chat", subjects=(row["subject"],)))
        item = task.items(shared / "data" / task.name, plan)[row["row"]]
        assert (item.prompt, item.answer) == (row["prompt"], row["answer"])
        assert item.id == f"{row['subject']}/{row['row']}"


def test_all_subjects_are_there(shared: Path) -> None:
    for name, num_subjects in {"mmlu": 57, "ceval": 52, "cmmlu": 67}.items():
        task = TASKS[name]
        plan = task.completed(TaskPlan(limit=1))
        assert len(task.items(shared / "data" / name, plan)) == num_subjects == len(task.subjects())
        assert len(task.files(shared / "data" / name, plan)) == 2 * num_subjects


def test_the_standard_prompt_is_that_of_lm_eval(tmp_path: Path) -> None:
    item = mmlu_items(write_mmlu(tmp_path, test="  How many? ,1,2,None,4,C\n"))[0]
    assert item.prompt.startswith(
        "The following are multiple choice questions (with answers) about anatomy.\n\n"
        "Q0?\nA. a0\nB. b\nC. c\nD. d\nAnswer: B\n\nQ1?\n"
    )
    assert item.prompt.endswith("\n\nHow many?\nA. 1\nB. 2\nC. None\nD. 4\nAnswer:")


LM_EVAL = {"mmlu": ("mmlu/default", "mmlu_"), "ceval": ("ceval", "ceval-valid_"), "cmmlu": ("cmmlu", "cmmlu_")}


def lm_eval_row(name: str, row: Mapping[str, str]) -> dict[str, object]:
    """A question in the fields of the data set that lm-eval fetches."""
    options = {letter: row[letter] for letter in "ABCD"}
    if name == "mmlu":
        return {"question": row["question"], "choices": [*options.values()], "answer": "ABCD".index(row["answer"])}
    question, answer = ("question", "answer") if name == "ceval" else ("Question", "Answer")
    return {question: row["question"], **options, answer: row["answer"]}


@pytest.mark.parametrize("shots", [5, 2, 0])
@pytest.mark.parametrize("chat", [False, True], ids=["base", "chat"])
@pytest.mark.parametrize("name", TASKS)
def test_the_standard_prompts_are_those_of_lm_evals_tasks(tmp_path: Path, name: str, chat: bool, shots: int) -> None:
    task, subject = TASKS[name], {"mmlu": "college_physics", "ceval": "law", "cmmlu": "agronomy"}[name]
    plan = task.completed(TaskPlan(subjects=(subject,), chat=chat, shots=shots))
    rows = {
        split: [
            {"question": f" {split} {n}，多少？\n", **{letter: f"{n}{letter}" for letter in "ABC"}, "D": "None"}
            | {"answer": "ABCD"[n % 4], "id": str(n), "": str(n)}
            for n in range(count)
        ]
        for split, count in (("dev", 5), (str(plan.split), 3))
    }
    for split, own in rows.items():
        path = task.path(tmp_path, split, subject)
        path.parent.mkdir()
        columns = [*([] if task.id_column is None else [task.id_column]), *task.columns]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if task.has_header:
                writer.writerow(columns)
            writer.writerows([row[column if column in row else column.lower()] for column in columns] for row in own)
        lines = [json.dumps(lm_eval_row(name, row), ensure_ascii=False) for row in own]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), "utf-8")
    folder, prefix = LM_EVAL[name]
    files = {split: tmp_path / f"{split}.jsonl" for split in rows}
    harness = harness_task(folder, f"{prefix}{subject}", files, tmp_path / "cache", chat=chat, shots=shots)
    letters = task.wanted(plan)
    assert isinstance(letters, Letters)
    asked: dict[int, list[tuple[str, str]]] = {}
    for instance in harness.instances:
        asked.setdefault(instance.doc_id, []).append(instance.args)
    items = task.items(tmp_path, plan)
    assert len(items) == len(asked) == 3
    for item, pairs in zip(items, asked.values(), strict=True):
        prompt = json.dumps({"messages": item.messages, "is_open": False}) if chat else item.prompt
        assert pairs == [(prompt, text) for text in letters.texts]


def test_what_is_wanted_depends_on_procedure_and_chat() -> None:
    mmlu, ceval = Mmlu(), CEval()
    original, chat = (
        TaskPlan(procedure=Procedure.ORIGINAL_2023_08),
        TaskPlan(procedure=Procedure.ORIGINAL_2023_12, chat=True),
    )
    spaced, bare = (" A", " B", " C", " D"), ("A", "B", "C", "D")
    assert mmlu.wanted(original) == Letters(texts=spaced, is_rounded=True, max_prompt_tokens=2048)
    assert ceval.wanted(original) == Letters(texts=bare, is_rounded=True)
    assert mmlu.wanted(TaskPlan()) == ceval.wanted(TaskPlan()) == Letters(texts=spaced)
    assert mmlu.wanted(TaskPlan(chat=True)) == Letters(texts=bare)
    assert mmlu.wanted(chat) == ceval.wanted(chat) == Text(max_new_tokens=512)
    assert [mmlu.completed(plan).shots for plan in (original, chat, TaskPlan(), TaskPlan(chat=True))] == [5, 0, 5, 5]


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff"How\nmany?",1,2,None,4,C\n',
        '"How\nmany?",1,2,None,4,C',
        '"How\r\nmany?",1,2,None,4,C\r\n\r\n',
        '"How\nmany?","1","2","None","4","C"\n',
    ],
    ids=["byte order mark", "no last line end", "CRLF", "all quoted"],
)
def test_files_are_read_as_they_are(tmp_path: Path, text: str) -> None:
    (item,) = mmlu_items(write_mmlu(tmp_path, test=text))
    assert item.source["C"] == "None" and item.answer == "C"
    assert item.source["question"].replace("\r\n", "\n") == "How\nmany?"


def test_numbers_stay_as_they_are_written(tmp_path: Path) -> None:
    (item,) = mmlu_items(write_mmlu(tmp_path, test='1?,0.50,"1,080",007,1e3,A\n'))
    assert [item.source[letter] for letter in "ABCD"] == ["0.50", "1,080", "007", "1e3"]


@pytest.mark.parametrize(
    ("dev", "test", "message"),
    [
        (None, "How many?,1,2,3,C\n", r"anatomy_test.csv, line 1: a row should have 6 columns, found 5"),
        (None, "a,1,2,3,4,C\nb,1,2,3,4,E\n", r"line 2: the answer should be A, B, C or D, found 'E'"),
        (None, 'a,1,2,3,4,C\n"b,1,2,3,4,C\n', r"line 2: not a row of CSV"),
        (None, "a,1,2,3,4,C\n ,1,2,3,4,C\n", r"line 2: the question is empty"),
        (None, "", r"has no questions"),
        ("a,1,2,3,4,C\n" * 4, "b,1,2,3,4,C\n", r"has 4 solved examples, fewer than the 5 to show"),
        ("a,1,2,3,4,C\n" * 6, "b,1,2,3,4,C\n", r"should have 5 solved examples, found 6 rows: .*swapped"),
        (None, "id,question,A,B,C,D,answer\n0,a,1,2,3,4,C\n", r"line 1: a row should have 6 columns, found 7"),
    ],
    ids=["short row", "letter E", "open quote", "no question", "empty", "four examples", "swapped", "file of C-Eval"],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path: Path, dev: str | None, test: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        mmlu_items(write_mmlu(tmp_path, dev=dev, test=test))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write_mmlu(tmp_path)
    (tmp_path / "test" / "anatomy_test.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptError, match=r"anatomy_test.csv, line 1: not UTF-8 text, found the byte 0xff"):
        mmlu_items(tmp_path)
    (tmp_path / "test" / "anatomy_test.csv").write_bytes(b"How many?,1,2,3,4,C\nHow\0many?,1,2,3,4,C\n")
    with pytest.raises(PromptError, match=r"anatomy_test.csv, line 2: found a NUL byte"):
        mmlu_items(tmp_path)


def test_swapped_folders_are_refused_without_examples_too(tmp_path: Path) -> None:
    write_mmlu(tmp_path, dev="a,1,2,3,4,C\n" * 6, test="b,1,2,3,4,C\n" * 5)
    with pytest.raises(PromptError, match=r"should have 5 solved examples, found 6 rows: .*swapped"):
        mmlu_items(tmp_path, shots=0)


@pytest.mark.parametrize("given", [".", "mmlu/dev", "mmlu/dev/below"])
def test_a_folder_that_is_too_high_or_too_low_names_the_right_one(tmp_path: Path, given: str) -> None:
    (tmp_path / "mmlu" / "dev" / "below").mkdir(parents=True)
    write_mmlu(tmp_path / "mmlu")
    task = Mmlu()
    with pytest.raises(PromptError, match=f"is not there, and {tmp_path / 'mmlu'} has the files of mmlu"):
        task.found_items(tmp_path / given, task.completed(TaskPlan(subjects=("anatomy",))))


def test_a_file_for_a_folder_is_named(tmp_path: Path) -> None:
    write_mmlu(tmp_path)
    task = Mmlu()
    with pytest.raises(PromptError, match=r"anatomy_test.csv is a file: name the folder"):
        task.found_items(tmp_path / "test" / "anatomy_test.csv", task.completed(TaskPlan(subjects=("anatomy",))))


def test_a_missing_subject_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"anatomy_test.csv is not there"):
        mmlu_items(tmp_path)
    for subject, near in (
        ("anatomi", "anatomy"),
        ("World Religions", "world_religions"),
        ("", "among abstract_algebra"),
    ):
        with pytest.raises(SettingError, match=f"mmlu has no subject '{subject}': choose {near}"):
            mmlu_items(tmp_path, subjects=(subject,))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "law_val.csv").write_text("id,question,A,A,B,C,D,answer\n3,a,1,2,3,4,5,C\n", "utf-8")
    task = CEval()
    with pytest.raises(PromptError, match=r"law_val.csv, line 1: the column 'A' is there twice"):
        task.items(tmp_path, task.completed(TaskPlan(shots=0, subjects=("law",))))


def test_ids_must_differ(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    rows = "3,a,1,2,3,4,C\n4,b,1,2,3,4,C\n3,c,1,2,3,4,C\n"
    (tmp_path / "val" / "law_val.csv").write_text("id,question,A,B,C,D,answer\n" + rows, "utf-8")
    task = CEval()
    with pytest.raises(PromptError, match=r"law_val.csv, line 4: id '3' is already that of line 2"):
        task.items(tmp_path, task.completed(TaskPlan(shots=0, subjects=("law",))))


def test_a_file_of_another_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "law_val.csv").write_text("How many?,1,2,3,4,C\n", "utf-8")
    task = CEval()
    with pytest.raises(PromptError, match=r"has no column 'question'"):
        task.items(tmp_path, task.completed(TaskPlan(shots=0, subjects=("law",))))


def test_the_test_split_of_ceval_has_no_answers(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "law_test.csv").write_text("id,question,A,B,C,D\n0,a,1,2,3,4\n", "utf-8")
    task = CEval()
    plan = task.completed(TaskPlan(shots=0, split="test", subjects=("law",)))
    (item,) = task.items(tmp_path, plan)
    reading = task.read(item, "B", plan)
    assert (item.answer, reading.predicted, reading.correct) == ("", "B", None)
    assert task.summarize([Outcome(item=item, output="B", reading=reading)], plan).score is None


def test_a_plan_must_be_the_procedures() -> None:
    with pytest.raises(SettingError, match=r"mmlu by original-2023-08 shows 5 examples, found 3"):
        Mmlu().completed(TaskPlan(procedure=Procedure.ORIGINAL_2023_08, shots=3))
    with pytest.raises(SettingError, match=r"with chat shows 0 examples, found 5"):
        CEval().completed(TaskPlan(procedure=Procedure.ORIGINAL_2023_12, chat=True, shots=5))
    with pytest.raises(SettingError, match=r"cmmlu has no split 'val': choose test"):
        Cmmlu().completed(TaskPlan(split="val"))


def outcomes(task: ChoiceTask, correct: dict[str, list[bool]]) -> list[Outcome]:
    """Made-up outcomes by subject."""
    source = dict.fromkeys(("question", "A", "B", "C", "D"), "x")
    return [
        Outcome(
            item=Item(subject=subject, row=row, prompt="", answer="A", source=source),
            output="",
            reading=Reading(predicted="A" if is_right else "B", correct=is_right, is_guess=row == 0),
        )
        for subject, own in correct.items()
        for row, is_right in enumerate(own)
    ]


def test_mmlu_counts_items_and_the_chinese_originals_count_subjects() -> None:
    mmlu, ceval = Mmlu(), CEval()
    original = TaskPlan(procedure=Procedure.ORIGINAL_2023_08)
    summary = mmlu.summarize(outcomes(mmlu, {"anatomy": [True] * 3, "virology": [False]}), original)
    assert summary.score == 75 and summary.groups["STEM"] == 100 and summary.groups["Other"] == 0
    correct = {"law": [True] * 3, "logic": [False], "college_physics": [True, False]}
    summary = ceval.summarize(outcomes(ceval, correct), original)
    assert summary.score == 50 and summary.groups["Humanities"] == 50 and summary.groups["Hard"] == 50
    assert ceval.summarize(outcomes(ceval, correct), TaskPlan()).score == pytest.approx(100 * 4 / 6)
    assert summary.interval is not None and summary.interval[0] <= 50 <= summary.interval[1]


def test_a_chat_score_is_given_without_guesses_too() -> None:
    mmlu = Mmlu()
    plan = TaskPlan(procedure=Procedure.ORIGINAL_2023_12, chat=True)
    summary = mmlu.summarize(outcomes(mmlu, {"anatomy": [True, True], "virology": [False, True]}), plan)
    assert summary.score == 75 and summary.more == {"without guesses": 50}


def test_a_chats_reply_is_read_without_the_blanks_around_it() -> None:
    plan = TaskPlan(procedure=Procedure.ORIGINAL_2023_12, chat=True)
    source = {"question": "何时收割？", "A": "春季", "B": "夏季", "C": "秋季", "D": "冬季"}
    item = Item(subject="law", row=0, prompt="", answer="C", source=source)
    assert CEval().read(item, "B有误。答案：C \n", plan) == Reading(predicted="C", correct=True)


def test_a_chat_that_the_original_never_asked_says_so() -> None:
    for task in (CEval(), Cmmlu()):
        for procedure in Procedure:
            for chat in (False, True):
                remark = task.remark(TaskPlan(procedure=procedure, chat=chat))
                has_no_script = task.name == "cmmlu" and chat and procedure.is_original
                assert bool(remark) is remark.startswith("The original has no script") is has_no_script


def test_a_library_of_readings_is_needed_by_readings_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "thefuzz.process", None)
    write_mmlu(tmp_path, test="How many?,1,2,3,4,C\n")
    plan = TaskPlan(subjects=("anatomy",), procedure=Procedure.ORIGINAL_2023_08, chat=True)
    assert Mmlu().items(tmp_path, Mmlu().completed(plan))
    with pytest.raises(MissingExtraError, match="thefuzz is not installed"):
        prepared(Mmlu(), tmp_path, plan)
    assert prepared(Mmlu(), tmp_path, replace(plan, chat=False))[1]
