"""The benchmark of plugins: the original's three measures, by the rules of both times and our own."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from qwen7b.errors import MissingExtraError, PromptError, SettingError
from qwen7b.tasks import react_reading
from qwen7b.tasks.item import Item, Outcome, Text
from qwen7b.tasks.plugin import FALSE_SCORE, INPUT_SCORE, NEGATIVE, POSITIVE, Plugin
from qwen7b.tasks.procedure import Procedure, TaskPlan

TASK = Plugin()
OLD, NEW, STANDARD = Procedure.ORIGINAL_2023_08, Procedure.ORIGINAL_2023_12, Procedure.STANDARD
NEEDED = [
    {"prompt": "画只猫", "response": 'Thought: t\nAction: image_gen\nAction Input: {"query": "猫"}\nObservation:'},
    {"prompt": "rain?", "response": 'Thought: t\nAction: weather\nAction Input: {"city": "Oslo"}'},
]
NEEDLESS = [{"prompt": "hello", "response": "Thought: t\nFinal Answer: hello"}, {"prompt": "你好"}]


def write(folder: Path, *, positive: list[Any] = NEEDED, negative: list[Any] = NEEDLESS, name: str = "{}") -> Path:
    for subject, rows in ((POSITIVE, positive), (NEGATIVE, negative)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name.format(subject)}.jsonl").write_text(lines, "utf-8")
    return folder


def items(folder: Path, **settings: Any) -> list[Item]:
    return TASK.found_items(folder, TASK.completed(TaskPlan(**settings)))


@pytest.mark.parametrize("procedure", [OLD, NEW, STANDARD])
def test_prompts_are_the_users_messages_as_they_are(tmp_path: Path, procedure: Procedure) -> None:
    found = items(write(tmp_path), procedure=procedure)
    assert [item.messages for item in found] == [
        [{"role": "user", "content": row["prompt"]}] for row in NEEDED + NEEDLESS
    ]
    assert [item.id for item in found] == ["positive/0", "positive/1", "negative/0", "negative/1"]
    assert [item.answer for item in found] == ["image_gen", "weather", "no tool", "no tool"]
    plan = TASK.completed(TaskPlan(procedure=procedure))
    assert plan.chat and TASK.wanted(plan) == Text(
        max_new_tokens=512, stop=() if procedure.is_original else ("Observation:",)
    )
    assert [item.id for item in items(tmp_path, procedure=procedure, limit=1)] == ["positive/0", "negative/0"]


def test_the_three_measures(tmp_path: Path) -> None:
    replies = [
        'Thought: t\nAction: Image_Gen \nAction Input: {query: "猫"}',  # the right tool, in other letters
        'Thought: t\nAction: maps\nAction Input: {"city": "Oslo"}',  # another one, and the right arguments
        "Thought: t\nAction: weather",
        "Hello!",
    ]
    found = items(write(tmp_path))
    readings = [TASK.read(item, reply, TASK.completed(TaskPlan())) for item, reply in zip(found, replies, strict=True)]
    assert [(reading.predicted, reading.correct) for reading in readings] == [
        *[("Image_Gen", True), ("maps", False), ("weather", False), ("no tool", True)]
    ]
    pairs = [reading.comparison for reading in readings]
    assert pairs[2:] == [None, None]
    assert all(pair is not None and pair.text == pair.reference for pair in pairs[:2])
    outcomes = [
        Outcome(item=item, output=reply, reading=replace(reading, scores=scores))
        for item, reply, reading, scores in zip(
            *(found, replies, readings, [{INPUT_SCORE: 1.0}, {INPUT_SCORE: 0.5}, {}, {}]), strict=True
        )
    ]
    summary = TASK.summarize(outcomes, TASK.completed(TaskPlan()))
    assert summary.score == 50 and summary.more == {INPUT_SCORE: 0.75, FALSE_SCORE: 50}
    assert summary.interval is not None and summary.interval[0] < 50 < summary.interval[1]
    half = TASK.summarize(outcomes[2:], TASK.completed(TaskPlan()))
    assert (half.score, half.interval, half.more[INPUT_SCORE]) == (None, None, None)


def test_each_split_has_its_own_files(tmp_path: Path) -> None:
    write(tmp_path, name="exam_plugin_v1_react_{}")
    assert len(items(tmp_path, split="v1")) == 4
    with pytest.raises(PromptError, match=r"positive\.jsonl is not there, and the folder has the split v1: choose it"):
        items(tmp_path)
    with pytest.raises(PromptError, match=r"react_positive\.jsonl is not there, .* has the split v1"):
        items(tmp_path, split="v20231206")
    (tmp_path / "exam_plugin_v1_react_negative.jsonl").unlink()
    with pytest.raises(PromptError, match=r"react_negative\.jsonl is not there: the original kept it at https://"):
        items(tmp_path, split="v1")
    with pytest.raises(PromptError, match=r"write it by 'qwen7b eval plugin --write-data "):
        items(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"positive": [{"prompt": "p"}]}, r"positive\.jsonl, line 1: 'response' should be a text"),
        ({"positive": [*NEEDED, ["p"]]}, r"positive\.jsonl, line 3: should be a JSON object"),
        ({"positive": NEEDLESS[:1]}, r"line 1: the response should have a line 'Action: ' .* swapped\?"),
        ({"positive": []}, r"positive\.jsonl has no questions"),
        ({"negative": [{"prompt": " "}]}, r"negative\.jsonl, line 1: the prompt is empty"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        items(write(tmp_path, **files))


def test_what_it_cannot_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, message in (({"subjects": ("positive",)}, "no subjects"), ({"shots": 1}, "shows 0 examples")):
        with pytest.raises(SettingError, match=message):
            TASK.completed(TaskPlan(procedure=OLD, **settings))

    def no_json5(name: str) -> Any:
        if name == "json5":
            raise ModuleNotFoundError(name)
        return import_module(name)

    monkeypatch.setattr(react_reading, "import_module", no_json5)
    with pytest.raises(MissingExtraError, match=r"json5 is not installed: .*tools"):
        TASK.completed(TaskPlan())
