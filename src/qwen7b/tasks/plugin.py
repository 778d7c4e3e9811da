"""The original's benchmark of plugins: which tool a ReAct reply calls, with what, and whether it had to.

The questions of one file need a tool and those of the other none. Each item has its whole prompt, tools included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from qwen7b.errors import PromptError
from qwen7b.tasks.cuts import chat_text
from qwen7b.tasks.intervals import wilson_interval
from qwen7b.tasks.item import ComparedTexts, Item, Outcome, Reading, Summary, Text
from qwen7b.tasks.procedure import ORIGINAL_TOKENS, TaskPlan
from qwen7b.tasks.react_reading import calls_tool, check_json5, read_call
from qwen7b.tasks.table_files import read_json_lines
from qwen7b.tasks.task import Task

POSITIVE, NEGATIVE = "positive", "negative"
"""The subjects: questions that need a tool, and those that need none."""
INPUT_SCORE, FALSE_SCORE = "input ROUGE-L", "false positives"
"""The original's other two measures: from 0 to 1, and in percent."""
OWN_FILES = "{subject}.jsonl"
_FILES = {
    "own": OWN_FILES,
    "v20231206": "exam_plugin_v20231206_react_{subject}.jsonl",
    "v1": "exam_plugin_v1_react_{subject}.jsonl",
}
_ADDRESS = "https://qianwen-res.oss-cn-beijing.aliyuncs.com/opensource_data"
NO_TOOL = "no tool"


class Plugin(Task):
    """A row's fields are prompt and, where a tool is needed, response."""

    name = "plugin"
    title = "Plugins"
    splits = tuple(_FILES)
    packages = ("json5",)

    def completed(self, plan: TaskPlan) -> TaskPlan:
        """The plan, in a chat: the original has no other way."""
        check_json5()
        return super().completed(replace(plan, chat=True))

    def usual_shots(self, plan: TaskPlan) -> tuple[int, ...]:
        return (0,)

    def files(self, folder: Path, plan: TaskPlan) -> list[Path]:
        return [folder / _FILES[plan.split or "own"].format(subject=subject) for subject in (POSITIVE, NEGATIVE)]

    def found_items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        missing = next((path for path in self.files(folder, plan) if not path.exists()), None)
        if missing is not None:
            others = [
                split
                for split in self.splits
                if all(file.exists() for file in self.files(folder, replace(plan, split=split)))
            ]
            if others:
                raise PromptError(
                    f"{missing} is not there, and the folder has the split {others[0]}: choose it (--split)"
                )
            if plan.split == "own":
                raise PromptError(f"{missing} is not there: write it by 'qwen7b eval plugin --write-data {folder}'")
            raise PromptError(
                f"{missing} is not there: the original kept it at {_ADDRESS}/exam_plugin_{plan.split}/{missing.name}"
            )
        return self.items(folder, plan)

    def items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        return [
            item
            for subject, path in zip((POSITIVE, NEGATIVE), self.files(folder, plan), strict=True)
            for item in _read_items(subject, path, plan)
        ]

    def wanted(self, plan: TaskPlan) -> Text:
        # The original lets a reply go on, so that most invent a result; whoever runs tools stops before it.
        stop = () if plan.procedure.is_original else ("Observation:",)
        return Text(max_new_tokens=ORIGINAL_TOKENS, stop=stop)

    def read(self, item: Item, output: str, plan: TaskPlan) -> Reading:
        reply, needs_tool = chat_text(output), item.subject == POSITIVE
        call = read_call(reply, plan.procedure)
        is_call = calls_tool(reply, plan.procedure, needs_tool=needs_tool)
        predicted = (call.name or "?") if is_call else NO_TOOL
        if not needs_tool:
            return Reading(predicted=predicted, correct=not is_call)
        reference = read_call(item.source["response"], plan.procedure)
        return Reading(
            predicted=predicted,
            correct=is_call and call.name.lower() == reference.name.lower(),
            comparison=ComparedTexts(text=call.arguments, reference=reference.arguments, score=INPUT_SCORE),
        )

    def summarize(self, outcomes: Sequence[Outcome], plan: TaskPlan) -> Summary:
        positive, negative = (
            [outcome.reading for outcome in outcomes if outcome.item.subject == subject]
            for subject in (POSITIVE, NEGATIVE)
        )
        num_right = sum(reading.correct is True for reading in positive)
        return Summary(
            score=100 * num_right / len(positive) if positive else None,
            interval=wilson_interval(num_right, len(positive)) if positive else None,
            groups={},
            more={
                INPUT_SCORE: fmean(reading.scores.get(INPUT_SCORE, 0.0) for reading in positive) if positive else None,
                FALSE_SCORE: 100 * fmean(reading.correct is not True for reading in negative) if negative else None,
            },
        )


def _read_items(subject: str, path: Path, plan: TaskPlan) -> list[Item]:
    rows = read_json_lines(path, ("prompt", "response") if subject == POSITIVE else ("prompt",))
    if not rows:
        raise PromptError(f"{path} has no questions: is the download whole?")
    items = []
    for number, row in enumerate(rows[: plan.limit]):
        prompt, answer = row.cells["prompt"], NO_TOOL
        if not prompt.strip():
            raise row.error("the prompt is empty: is the download whole?")
        if subject == POSITIVE:
            response = row.cells["response"]
            answer = read_call(response, plan.procedure).name
            if not answer or not calls_tool(f"\n{response}", plan.procedure, needs_tool=True):
                raise row.error("the response should have a line 'Action: ' with a tool: are the two files swapped?")
        items.append(Item(subject=subject, row=number, prompt=prompt, answer=answer, source=row.cells))
    return items
