"""GSM8K: prompts as the original's and lm-eval's, readings by procedure, and files as they are."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness import harness_task
from qwen7b.errors import PromptError, SettingError
from qwen7b.tasks import gsm8k
from qwen7b.tasks.gsm8k import NUM_TRAIN, Gsm8k
from qwen7b.tasks.item import Item, Outcome, Text
from qwen7b.tasks.procedure import Procedure, TaskPlan

TASK = Gsm8k()
OLD, NEW, STANDARD = Procedure.ORIGINAL_2023_08, Procedure.ORIGINAL_2023_12, Procedure.STANDARD


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def made_up(count: int, *, start: int = 0) -> list[dict[str, str]]:
    return [
        {"question": f"What is {n} + 1?", "answer": f"It is {n}+1=<<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"}
        for n in range(start, start + count)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "test.jsonl", made_up(6))
    write(tmp_path / "train.jsonl", made_up(NUM_TRAIN, start=6))
    return tmp_path


def items(folder: Path, **settings: Any) -> list[Item]:
    return TASK.items(folder, TASK.completed(TaskPlan(**settings)))


def shown_in(prompt: str) -> list[dict[str, str]]:
    """The examples of one of the original's prompts, as the official training file has them but for the notes."""
    parts = re.findall(r"Question: (.*?)\nLet's think step by step\n(.*?)\nThe answer is (.*?)\n\n", prompt, re.S)
    return [{"question": question, "answer": f"{answer}\n#### {number}"} for question, answer, number in parts]


@pytest.mark.parametrize("procedure", [OLD, NEW])
def test_prompts_equal_those_of_the_originals_scripts(
    shared: Path, golden_rows: list[dict[str, Any]], tmp_path: Path, procedure: Procedure
) -> None:
    rows = [row for row in golden_rows if row["task"] == "gsm8k" and "prompt" in row]
    assert len(rows) == 6
    (tmp_path / "test.jsonl").write_bytes((shared / "data" / "gsm8k" / "test.jsonl").read_bytes())
    head = (shared / "data" / "gsm8k" / "train_head.jsonl").read_text("utf-8").splitlines()
    train = {row["question"]: row for prompt in rows for row in shown_in(prompt["prompt"])}
    assert len(train) == 12
    real = [row for row in map(json.loads, head) if row["question"] in train]
    assert len(real) == 1 and "<<" in real[0]["answer"]
    write(tmp_path / "train.jsonl", list((train | {row["question"]: row for row in real}).values())[::-1])
    for row in rows:
        shots = {"base": 8, "chat-0-shot": 0, "chat-4-shot": 4}[row["mode"]]
        found = items(tmp_path, procedure=procedure, chat=row["mode"] != "base", shots=shots)[row["row"]]
        assert found.prompt == row["prompt"] and found.id == f"gsm8k/{row['row']}"
        assert not found.turns and found.source["answer"].endswith(f"#### {found.answer}")


@pytest.mark.parametrize("chat", [False, True])
def test_the_standard_prompts_are_those_of_lm_eval(folder: Path, chat: bool) -> None:
    files = {split: folder / f"{split}.jsonl" for split in ("train", "test")}
    harness = harness_task("gsm8k", "gsm8k", files, folder / "cache", chat=chat)
    found = items(folder, chat=chat)
    assert len(found) == 6 == len(harness.instances)
    wanted = TASK.wanted(TASK.completed(TaskPlan(chat=chat)))
    for instance, item in zip(harness.instances, found, strict=True):
        context, settings = instance.args
        if chat:
            assert json.loads(context) == {"messages": item.messages, "is_open": False}
            assert len(item.messages) == 11
        else:
            assert context == item.prompt and item.prompt.count("Question: ") == 6
        assert settings["until"] == list(wanted.stop)
    assert len({item.prompt_hash for item in found}) == 6


def test_lm_eval_scores_the_same_replies_the_same(folder: Path) -> None:
    harness = harness_task(
        "gsm8k", "gsm8k", {split: folder / f"{split}.jsonl" for split in ("train", "test")}, folder, chat=False
    )
    replies = ["#### 1", "#### $2.", "3", "#### 4.00", "the #### -5, or 5", "none"]
    for instance, reply in zip(harness.instances, replies, strict=True):
        instance.resps = [reply]
    harness.apply_filters()
    plan = TASK.completed(TaskPlan())
    found = items(folder)
    for instance, reply, item in zip(harness.instances, replies, found, strict=True):
        scores = harness.process_results(instance.doc, [instance.filtered_resps["strict-match"]])
        assert TASK.read(item, reply, plan).correct == bool(scores["exact_match"])
    outcomes = [
        Outcome(item=item, output=reply, reading=TASK.read(item, reply, plan))
        for item, reply in zip(found, replies, strict=True)
    ]
    flexible = [
        harness.process_results(instance.doc, [instance.filtered_resps["flexible-extract"]])["exact_match"]
        for instance in harness.instances
    ]
    summary = TASK.summarize(outcomes, plan)
    assert summary.more == {"flexible-extract": pytest.approx(100 * sum(flexible) / 6)}
    assert summary.interval is not None and summary.interval[0] < (summary.score or 0) < summary.interval[1]


def test_what_is_wanted_depends_on_procedure_and_chat() -> None:
    assert TASK.wanted(TaskPlan()).max_new_tokens == 256 and "Question:" in TASK.wanted(TaskPlan(chat=True)).stop
    assert TASK.wanted(TaskPlan(procedure=OLD)) == Text(max_new_tokens=512, stop=("<|endoftext|>", "\n\n", "Question:"))
    assert TASK.wanted(TaskPlan(procedure=NEW, chat=True)) == Text(max_new_tokens=512)
    shots = {(plan.procedure, plan.chat): TASK.completed(plan).shots for plan in plans()}
    assert shots == {
        (OLD, False): 8,
        (OLD, True): 0,
        (NEW, False): 8,
        (NEW, True): 0,
        (STANDARD, False): 5,
        (STANDARD, True): 5,
    }
    assert TASK.completed(TaskPlan(procedure=NEW, chat=True, shots=4)).shots == 4
    with pytest.raises(SettingError, match=r"gsm8k by original-2023-08 with chat shows 0 or 4 examples, found 8"):
        TASK.completed(TaskPlan(procedure=OLD, chat=True, shots=8))
    with pytest.raises(SettingError, match=r"gsm8k has no subjects: drop them"):
        TASK.completed(TaskPlan(subjects=("algebra",)))


def plans() -> list[TaskPlan]:
    return [TaskPlan(procedure=procedure, chat=chat) for procedure in Procedure for chat in (False, True)]


@pytest.mark.parametrize(
    ("reply", "answer", "expected"),
    [
        ("The answer is 1,080", "a\n#### 1080", {(OLD, False): False, (OLD, True): False, (NEW, True): True}),
        ("The answer is 80", "a\n#### 1,080", {(OLD, False): False, (OLD, True): None, (NEW, True): False}),
        ("The answer is -3", "a\n#### 3", {(OLD, False): True, (OLD, True): True, (NEW, True): False}),
        ("The answer is 18.00", "a\n#### 18", {(OLD, False): False, (NEW, True): True, (STANDARD, False): False}),
        ("#### 18", "a\n#### 18", {(OLD, False): True, (NEW, False): True, (STANDARD, True): True}),
    ],
)
def test_readings_follow_the_procedure(reply: str, answer: str, expected: dict[tuple[Procedure, bool], bool]) -> None:
    item = Item(subject="gsm8k", row=0, prompt="", answer="", source={"question": "", "answer": answer})
    for (procedure, chat), correct in expected.items():
        assert TASK.read(item, reply, TaskPlan(procedure=procedure, chat=chat)).correct is correct


def test_items_at_which_the_original_stops_are_wrong_and_counted_apart() -> None:
    plan = TaskPlan(procedure=OLD, chat=True)
    replies = {"a\n#### 1,080": "80", "a\n#### 2": "2", "a\n#### 3": "4"}
    outcomes = []
    for answer, reply in replies.items():
        item = Item(subject="gsm8k", row=0, prompt="", answer="", source={"question": "", "answer": answer})
        outcomes.append(Outcome(item=item, output=reply, reading=TASK.read(item, reply, plan)))
    summary = TASK.summarize(outcomes, plan)
    assert summary.remark.startswith("The original's script would stop at 1 item,")
    assert summary.score == pytest.approx(100 / 3) and summary.more == {"without items that stop the original": 50}


@pytest.mark.filterwarnings("ignore:.*train_head")
def test_fewer_training_items_are_drawn_from_with_a_warning(folder: Path) -> None:
    write(folder / "train_head.jsonl", made_up(20, start=6))
    drawn = re.findall(r"What is (\d+) \+ 1", items(folder)[0].prompt)
    assert max(map(int, drawn)) > 26
    (folder / "train.jsonl").unlink()
    with pytest.warns(UserWarning, match=r"train_head.jsonl has 20 questions and not the official 7,473"):
        first = items(folder)
    assert first[0].prompt.count("Answer: It is") == 5
    assert [item.prompt for item in items(folder, limit=2)] == [item.prompt for item in first[:2]]
    with pytest.raises(PromptError, match=r"train_head.jsonl has 20 questions, fewer than the 21 to show"):
        items(folder, shots=21)
    with pytest.raises(PromptError, match=r"train_head.jsonl has 0 of the 8 examples .*: fetch the files by"):
        items(folder, procedure=OLD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"test.jsonl has no questions"),
        ('{"question": "a", "answer": "b"}\n', r"test.jsonl, line 1: the answer should end in a line with '#### '"),
        ('\n{"question": "a"}\n', r"test.jsonl, line 2: 'answer' should be a text"),
        (
            '{"question": "a", "answer": "\\n#### 1"}\n' * 2,
            r"test.jsonl, line 2: question 'a' is already that of line 1",
        ),
        ("[1]\n", r"test.jsonl, line 1: should be a JSON object"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "test.jsonl").write_text(text, "utf-8")
    with pytest.raises(PromptError, match=message):
        items(tmp_path, shots=0)


def test_swapped_files_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(made_up(1, start=8)[0]["question"].encode()).hexdigest()[:16]
    monkeypatch.setattr(gsm8k, "_EXAMPLES", {8: (digest,)})
    assert len(items(folder)) == 6
    (folder / "test.jsonl").write_bytes((folder / "train.jsonl").read_bytes())
    with pytest.raises(
        PromptError, match=r"test.jsonl, line 3: this question is in the official train.jsonl: .*swapped"
    ):
        items(folder)


@pytest.mark.parametrize(
    ("question", "answer", "message"),
    [
        ("why?", "so\n#### many", "the answer should end in a line with '#### ' and a number"),
        ("why?", "so\n#### 4\nand more", "the answer should end in a line with '#### ' and a number"),
        (" ", "so\n#### 4", "the question is empty"),
    ],
)
def test_an_item_that_cannot_be_asked_or_scored_is_refused(
    tmp_path: Path, question: str, answer: str, message: str
) -> None:
    write(tmp_path / "test.jsonl", [*made_up(1), {"question": question, "answer": answer}])
    with pytest.raises(PromptError, match=rf"test.jsonl, line 2: {message}"):
        items(tmp_path, shots=0)


def test_half_a_surrogate_pair_is_no_character(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(r'{"question": "why \ud800?", "answer": "so\n#### 4"}' + "\n", "utf-8")
    with pytest.raises(PromptError, match=r"test.jsonl, line 1: 'question' has half of a surrogate pair"):
        items(tmp_path, shots=0)


def test_a_seed_is_stated_where_examples_are_drawn() -> None:
    assert TASK.seed(TASK.completed(TaskPlan())) == 1234
    assert TASK.seed(TASK.completed(TaskPlan(shots=0))) is None
    assert TASK.seed(TASK.completed(TaskPlan(procedure=OLD))) is None


def test_examples_are_not_the_questions_themselves(folder: Path) -> None:
    (folder / "train.jsonl").write_bytes((folder / "test.jsonl").read_bytes())
    with pytest.raises(PromptError, match=r"train.jsonl has the questions of .*test.jsonl too, with their answers"):
        items(folder)


def test_a_missing_file_names_its_home(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"test.jsonl is not there: .* https://.*grade_school_math/data/test.jsonl"):
        TASK.found_items(tmp_path, TASK.completed(TaskPlan()))
    write(tmp_path / "test.jsonl", made_up(1))
    with pytest.raises(PromptError, match=r"train.jsonl is not there: .* https://.*grade_school_math/data/train.jsonl"):
        TASK.found_items(tmp_path, TASK.completed(TaskPlan()))
    assert items(tmp_path, shots=0)[0].prompt == "Question: What is 0 + 1?\nAnswer:"
