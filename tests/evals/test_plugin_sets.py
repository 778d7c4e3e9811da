"""The two sets of questions about plugins: sizes, languages, tools, and references that get full marks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from qwen7b.errors import SettingError
from qwen7b.evals.plugin_sets import SET_SIZE, plugin_sets, write_plugin_sets
from qwen7b.tasks.item import Item
from qwen7b.tasks.plugin import NEGATIVE, POSITIVE, Plugin
from qwen7b.tasks.procedure import Procedure, TaskPlan

CHINESE = re.compile("[\u4e00-\u9fff]")


def offered(prompt: str) -> list[str]:
    (names,) = re.findall(r"should be one of \[(.*)\]", prompt)
    return str(names).split(",")


def question(prompt: str) -> str:
    return prompt.rpartition("\n\nQuestion: ")[2]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("sets")
    write_plugin_sets(folder)
    return Plugin().found_items(folder, Plugin().completed(TaskPlan()))


def test_both_sets_have_150_questions_in_two_languages_and_share_no_tool() -> None:
    sets = plugin_sets()
    tools = {}
    for subject, rows in sets.items():
        questions = [question(row["prompt"]) for row in rows]
        assert len(questions) == SET_SIZE == 150 == len(set(questions))
        assert sum(CHINESE.search(text) is not None for text in questions) == SET_SIZE // 2
        assert not any("{" in text for text in questions)
        names = [offered(row["prompt"]) for row in rows]
        assert all(2 <= len(own) == len(set(own)) <= 5 or subject == NEGATIVE for own in names)
        tools[subject] = {name for own in names for name in own}
    assert len(tools[POSITIVE]) == 16 and len(tools[NEGATIVE]) == 12 and not tools[POSITIVE] & tools[NEGATIVE]


@pytest.mark.parametrize("procedure", list(Procedure))
def test_a_reference_gets_full_marks(items: list[Item], procedure: Procedure) -> None:
    plan, task = Plugin().completed(TaskPlan(procedure=procedure)), Plugin()
    sets = plugin_sets()
    for item in items:
        response = sets[item.subject][item.row]["response"]
        reading = task.read(item, response, plan)
        assert reading.correct and reading.predicted == item.answer
        if item.subject == POSITIVE:
            assert item.answer in offered(item.prompt)
            assert reading.comparison is not None and reading.comparison.text == reading.comparison.reference
            arguments = json.loads(reading.comparison.text)
            said = question(item.prompt)
            for value in arguments.values():
                if not isinstance(value, bool):
                    assert all(part in said for part in (value if isinstance(value, list) else [str(value)]))


def test_a_seed_draws_the_same_and_another_seed_others(tmp_path: Path) -> None:
    assert plugin_sets(1) == plugin_sets(1) != plugin_sets(2)
    paths = write_plugin_sets(tmp_path / "new", seed=1)
    assert [path.name for path in paths] == ["positive.jsonl", "negative.jsonl"]
    assert [json.loads(line) for line in paths[0].read_text("utf-8").splitlines()] == plugin_sets(1)[POSITIVE]
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"positive\.jsonl cannot be written"):
        write_plugin_sets(tmp_path / "file")
