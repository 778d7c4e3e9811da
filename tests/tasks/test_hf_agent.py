"""The run mode of Hugging Face's agents: scores as transformers 4.31's own program gives them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from qwen7b.errors import PromptError, SettingError
from qwen7b.tasks import tool_script
from qwen7b.tasks.hf_agent import CODE, OWN_FOLDER, SELECTED, USED, HfAgent
from qwen7b.tasks.item import Item, Outcome, Reading, Text
from qwen7b.tasks.procedure import Procedure, TaskPlan

TASK = HfAgent()
OLD, NEW, STANDARD = Procedure.ORIGINAL_2023_08, Procedure.ORIGINAL_2023_12, Procedure.STANDARD
GOLDEN = Path(__file__).parents[1] / "golden" / "hf_agent.jsonl"
CALLS = " tools: `shortener`.\n\nAnswer:\n```py\nresult = shortener(text)\n```"


def items(folder: Path = OWN_FOLDER, task: HfAgent = TASK, **settings: Any) -> list[Item]:
    return task.found_items(folder, task.completed(TaskPlan(**settings)))


def scored(item: Item, reply: str, **settings: Any) -> Reading:
    """The reading of a reply; code that the test knows is evaluated in this process."""
    plan = TASK.completed(TaskPlan(**settings))
    reading = TASK.read(item, reply, plan)
    if reading.program is None:
        return reading
    assert reading.program.check is None and reading.program.code.startswith('"""A part of Python')
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(reading.program.code, "script", "exec"), {})
    return TASK.decide(item, reply, plan, reading, passed=True, printed=printed.getvalue())


def test_recorded_replies_have_the_scores_of_transformers_own_program() -> None:
    """`benchmarks/hf_agent_referee.py` had these replies scored; null is where that program stops."""
    found = items()
    rows = [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]
    assert len(rows) > 60 and {(row["scores"] or {CODE: None})[CODE] for row in rows} == {None, 0.3, 0.75, 1.0}
    for row in rows:
        reading = scored(found[row["row"]], row["reply"])
        assert reading.scores == (row["scores"] or {SELECTED: 0, USED: 0, CODE: 0}), row["reply"]
        assert reading.correct is (None if row["scores"] is None else row["scores"][CODE] == 1)


def test_each_answer_of_our_own_tasks_gets_full_marks_and_no_other_does() -> None:
    found = items()
    assert len(found) == 36 == len({item.prompt for item in found})
    right = {item.row: json.loads(item.source["problem"])["answers"] for item in found}
    for item in found:
        assert "<<" not in item.prompt and item.prompt.endswith("\n\nI will use the following")
        for answer in right[item.row]:
            names = [f"`{tool['name']}`" for tool in json.loads(item.source["tools"]) if tool["name"] in answer]
            reading = scored(item, f" tools: {', '.join(names)}.\n\nAnswer:\n```py\n{answer}\n```")
            assert reading.scores == {SELECTED: 1, USED: 1, CODE: 1} and reading.correct
        other = next(answers[0] for answers in right.values() if answers != right[item.row])
        assert scored(item, f" none.\nAnswer:\n{other}").scores[CODE] == 0.3


def test_procedures_differ_in_how_they_ask_and_where_a_reply_ends(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text('<<all_tools>>\nHuman: "<<prompt>>"\nAssistant:', "utf-8")
    own = HfAgent(prompt)
    for procedure in (OLD, NEW):
        plan = own.completed(TaskPlan(procedure=procedure))
        assert plan.chat and own.wanted(plan) == Text(max_new_tokens=512)
        (item, *_) = items(task=own, procedure=procedure)
        assert item.prompt.endswith('_HUMAN_: "Make the text in the variable `text` shorter."\n_ASSISTANT_:')
        assert item.prompt.startswith("- page_reader: This is a tool that fetches")
        assert scored(item, f"{CALLS}\nTask:", procedure=procedure).correct
        assert not scored(item, f"{CALLS}\nTask: next", procedure=procedure).correct
    assert not own.completed(TaskPlan()).chat and own.completed(TaskPlan(chat=True)).chat
    assert own.wanted(own.completed(TaskPlan())) == Text(max_new_tokens=200, stop=("Task:",))
    assert items(task=own, limit=1)[0].prompt.endswith("\nAssistant:")


def test_the_summary_counts_replies_that_stop_their_program() -> None:
    item = items(limit=1)[0]
    replies = (CALLS, " tools: `voice`.\nAnswer:\nvoice(text)", "no answer")
    outcomes = [Outcome(item=item, output=reply, reading=scored(item, reply)) for reply in replies]
    summary = TASK.summarize(outcomes, TASK.completed(TaskPlan()))
    assert summary.score == pytest.approx((100 + 30) / 3) and summary.interval is not None
    assert summary.more == {SELECTED: pytest.approx(50), USED: pytest.approx(50)}
    assert summary.remark.startswith("1 reply without one 'Answer:'")
    assert TASK.summarize(outcomes[:2], TASK.completed(TaskPlan())).remark == ""


def test_code_that_does_not_come_to_an_end_gets_what_wrong_code_gets() -> None:
    item, plan = items(limit=1)[0], TASK.completed(TaskPlan())
    reading = TASK.read(item, CALLS, plan)
    assert TASK.decide(item, CALLS, plan, reading, passed=False, printed="").scores == {SELECTED: 1, USED: 1, CODE: 0.3}


def changed(**changes: Any) -> str:
    return json.dumps(json.loads((OWN_FOLDER / "tasks.json").read_text("utf-8")) | changes)


TOOL = {"name": "tool", "description": "does it", "parameters": ["text"], "returns": "{text}"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"tasks\.json: not JSON"),
        ("[]", r"should be a JSON object with lists of tools and problems"),
        (changed(tools=[TOOL, TOOL]), r"two tools have the name 'tool': give each its own"),
        (changed(tools=[TOOL | {"name": ""}]), r"tool 1 should have a name"),
        (changed(tools=[TOOL | {"parameters": "text"}]), r"tool 1 should have a name, a description, parameters"),
        (changed(tools=["x"]), r"tool 1 should have"),
        (changed(problems=[{"tasks": ["t"], "answers": [], "inputs": []}]), r"problem 1 should have tasks, inputs and"),
        (changed(problems=[{"tasks": ["t"], "answers": ["x"], "inputs": []}]), r"answer of problem 1 calls no tool"),
        (changed(problems=[]), r"has no problems"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "tasks.json").write_text(text, "utf-8")
    (tmp_path / "prompt.txt").write_text("<<all_tools>> <<prompt>>", "utf-8")
    with pytest.raises(PromptError, match=message):
        items(tmp_path)


def test_a_prompt_without_its_marks_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("<<all_tools>>", "utf-8")
    with pytest.raises(PromptError, match=r"prompt\.txt has no <<prompt>>"):
        items(task=HfAgent(tmp_path / "prompt.txt"))
    with pytest.raises(PromptError, match=r"transformers_tasks\.json is not there"):
        items(split="transformers")
    with pytest.raises(SettingError, match="no subjects"):
        items(subjects=("run",))


def test_a_loop_gives_its_last_value() -> None:
    value = tool_script.result_of("for i in range(3):\n    x = i\n    print(x)\nx", [], {})
    assert value == 2
