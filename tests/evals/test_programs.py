"""Programs: what the model writes runs only where that is allowed, beside the model, and decides what is right."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qwen7b import Qwen
from qwen7b.errors import SandboxError, SettingError
from qwen7b.evals import evaluate, preparation, programs
from qwen7b.evals.outputs import Output
from qwen7b.generate.shared_engine import SharedEngine
from qwen7b.sandbox import ProgramOutcome
from qwen7b.tasks import TASKS, Procedure, TaskPlan
from qwen7b.tasks.humaneval import HumanEval
from qwen7b.tasks.item import Draws, Item, Program, Text
from tiny_humaneval import write_functions


class Short(HumanEval):
    """HumanEval with replies of few tokens, as a tiny model writes on and on."""

    def wanted(self, plan: TaskPlan) -> Text:
        return replace(super().wanted(plan), max_new_tokens=24)


TASK = Short()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_functions(tmp_path_factory.mktemp("humaneval"))


def records_of(out: Path) -> dict[str, dict[str, Any]]:
    records = [json.loads(line) for line in (out / "humaneval.jsonl").read_text("utf-8").splitlines()]
    assert len({record["id"] for record in records}) == len(records)
    return {record["id"]: record for record in records}


def answered(folder: Path, replies: dict[int, str], *, then: type[BaseException] | None = None) -> Iterator[Any]:
    """Items with made-up replies, as `outputs` yields them."""
    found = TASK.items(folder, TASK.completed(TaskPlan()))
    for row, reply in replies.items():
        yield found[row], Output(text=reply, truncated=False, prompt_tokens=1)
    if then is not None:
        raise then


def judge(news: Iterator[tuple[Item, Output]]) -> Iterator[programs.Judged]:
    plan = TaskPlan()
    return programs.judged(news, partial(TASK.read, plan=plan), task=TASK, plan=plan, allow_unprotected=False)


@pytest.mark.usefixtures("any_protection")
def test_programs_decide_in_whatever_order_they_end(folder: Path) -> None:
    replies = {0: "    import time; time.sleep(0.5)\n    return a + b\n", 1: "    return text\n"}
    results = list(judge(answered(folder, replies)))
    assert [item.row for item, *_ in results] == [1, 0]
    assert {item.row: reading.correct for item, _, reading, _ in results} == {0: True, 1: False}
    assert [outcome and outcome.status for *_, outcome in results] == ["failed", "passed"]


@pytest.mark.parametrize("failures", [0, 2, 3])
def test_a_sandbox_that_fails_for_a_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    passed = ProgramOutcome(status="passed", exit_code=0, stdout="", stderr="", seconds=0.1, protection="landlock")
    calls = iter(range(10))

    def run(code: str, **settings: Any) -> ProgramOutcome:
        if next(calls) < failures:
            raise SandboxError("the sandbox does not start")
        return passed

    monkeypatch.setattr(programs, "run_python", run)
    if failures == 3:
        with pytest.raises(SandboxError):
            programs.run_program(Program(code="", check=""), allow_unprotected=False)
    else:
        assert programs.run_program(Program(code="", check=""), allow_unprotected=False) is passed


@pytest.mark.usefixtures("any_protection")
def test_the_model_goes_on_while_programs_run(folder: Path) -> None:
    times = []

    def news() -> Iterator[Any]:
        for answer in answered(folder, {0: "    import time; time.sleep(1)\n    return a + b\n", 1: "    x\n"}):
            times.append(time.monotonic())
            yield answer

    assert len(list(judge(news()))) == 2
    assert times[1] - times[0] < 1


@pytest.mark.usefixtures("any_protection")
def test_an_interrupt_loses_no_answer(folder: Path) -> None:
    results = judge(answered(folder, {0: "    return a + b\n", 1: "    x\n"}, then=KeyboardInterrupt))
    assert {next(results)[0].row, next(results)[0].row} == {0, 1}
    with pytest.raises(KeyboardInterrupt):
        next(results)


@pytest.mark.usefixtures("any_protection")
@pytest.mark.parametrize("chat", [False, True])
def test_records_say_what_became_of_programs(qwen: Qwen, folder: Path, tmp_path: Path, chat: bool) -> None:
    plan = TaskPlan(chat=chat, procedure=Procedure.ORIGINAL_2023_12)
    result = evaluate(qwen, TASK, folder, plan, out=tmp_path, allow_code=True)
    records = records_of(tmp_path)
    assert records.keys() == {"Test/0", "Test/1"} and (result.score, result.items) == (0, 2)
    for record in records.values():
        assert record["outcome"] == "failed" and record["error"] and record["correct"] is False
        assert record["seconds"] < 10 and isinstance(record["output"], str)


@pytest.mark.usefixtures("any_protection")
def test_the_standard_chat_goes_on_from_a_beginning(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    evaluate(qwen, TASK, folder, TaskPlan(chat=True, limit=1), out=tmp_path, allow_code=True)
    record = records_of(tmp_path)["Test/0"]
    messages = [
        {"role": "user", "content": record["prompt"]},
        {"role": "assistant", "content": record["opening"]},
    ]
    wanted = TASK.wanted(TaskPlan())
    reply = qwen.chat(messages, temperature=0, max_new_tokens=wanted.max_new_tokens, stop=wanted.stop)
    assert record["output"] == reply.text and record["prompt_tokens"] == reply.usage.prompt_tokens


@pytest.mark.usefixtures("any_protection")
def test_samples_are_drawn_each_with_a_seed_of_its_own(qwen: Qwen, folder: Path, tmp_path: Path) -> None:
    task = Short(Draws(samples=3, temperature=1.0, top_p=1.0, seed=5))
    whole = evaluate(qwen, task, folder, TaskPlan(), out=tmp_path / "a", allow_code=True)
    records = records_of(tmp_path / "a")
    assert len(records) == 6 and whole.items == 2
    assert len({record["output"] for record in records.values()}) == 6
    assert [whole.signature[name] for name in ("samples", "temperature", "top_p", "seed")] == [3, 1.0, 1.0, 5]
    out = tmp_path / "b"
    out.mkdir()
    lines = (tmp_path / "a" / "humaneval.jsonl").read_bytes().splitlines(keepends=True)
    (out / "humaneval.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:40])  # killed within the third
    (out / "humaneval.json").write_bytes((tmp_path / "a" / "humaneval.json").read_bytes())
    resumed = evaluate(qwen, task, folder, TaskPlan(), out=out, resume=True, allow_code=True)
    again = records_of(out)
    assert {key: record["output"] for key, record in again.items()} == {
        key: record["output"] for key, record in records.items()
    }
    assert resumed.score == whole.score
    other = Short(Draws(samples=3, temperature=1.0, top_p=1.0, seed=6))
    with pytest.raises(SettingError, match="is of a run with another seed"):
        evaluate(qwen, other, folder, TaskPlan(), out=out, resume=True, allow_code=True)
    evaluate(qwen, other, folder, TaskPlan(), out=tmp_path / "c", allow_code=True)
    others = {record["output"] for record in records_of(tmp_path / "c").values()}
    assert not others & {record["output"] for record in records.values()}


def test_code_is_run_only_where_that_is_allowed(
    qwen: Qwen, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError, match=r"humaneval runs code that the model writes: .* \(--allow-code\)"):
        evaluate(qwen, TASK, folder, TaskPlan(), out=tmp_path)
    assert not list(tmp_path.iterdir())

    def find_none() -> None:
        raise SandboxError("no sandbox here")

    monkeypatch.setattr(preparation, "find_protection", find_none)
    with pytest.raises(SandboxError, match="no sandbox here"):
        evaluate(qwen, TASK, folder, TaskPlan(), allow_code=True)
    preparation.check_permission(TASK, allow_code=True, allow_unprotected=True)
    preparation.check_permission(TASKS["gsm8k"], allow_code=False, allow_unprotected=False)


def test_texts_that_an_interrupt_cut_off_are_no_answers(
    qwen: Qwen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"question": f"in {number}?", "answer": f"the inn\n#### {number}"}) for number in range(3)]
    (tmp_path / "test.jsonl").write_text("\n".join(lines), "utf-8")
    wait, calls = SharedEngine.wait, iter(range(1000))

    def interrupted(self: SharedEngine, *arguments: Any) -> Any:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return wait(self, *arguments)

    monkeypatch.setattr(SharedEngine, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(qwen, TASKS["gsm8k"], tmp_path, TaskPlan(shots=0), out=tmp_path / "out")
    records = map(json.loads, (tmp_path / "out" / "gsm8k.jsonl").read_text("utf-8").splitlines())
    ended = [record["finish_reason"] for record in records]
    assert len(ended) < 3 and set(ended) <= {"stop"}
