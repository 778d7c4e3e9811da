"""The run mode of Hugging Face's agents: a model names tools, and writes code that calls them.

The measures are those of transformers 4.31, with which the original measured; tasks, tools and prompt are our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from qwen7b.errors import PromptError, counted, quoted
from qwen7b.system.json_file import parse_json
from qwen7b.tasks.cuts import chat_text
from qwen7b.tasks.intervals import bootstrap_interval
from qwen7b.tasks.item import Item, Outcome, Program, Reading, Summary, Text
from qwen7b.tasks.procedure import ORIGINAL_TOKENS, TaskPlan
from qwen7b.tasks.table_files import read_text
from qwen7b.tasks.task import Task

OWN_FOLDER = Path(__file__).with_name("hf_agent_data")
SELECTED, USED, CODE = "tools selected", "tools used", "code"
"""The three measures of a reply, from 0 to 1."""
_TASKS = {"own": "tasks.json", "transformers": "transformers_tasks.json"}
_PROMPT = "prompt.txt"
_TOOLS_MARK, _TASK_MARK = "<<all_tools>>", "<<prompt>>"
_OPENING, _ANSWER, _STOP = "I will use the following ", "Answer:", "Task:"
_STANDARD_TOKENS = 200
"""What transformers' agent of a local model writes at most."""
_RENAMED = (("Human:", "_HUMAN_:"), ("Assistant:", "_ASSISTANT_:"))
"""What the original's agent writes for words that had a meaning to its chat models."""
_FENCES = ("```", "```py", "```python")


class HfAgent(Task):
    """The split "transformers" is for that library's own tasks, for those who write them down in the form of ours.

    `prompt` is a file with another prompt, in which `<<all_tools>>` and `<<prompt>>` stand for tools and task."""

    name = "hf-agent"
    title = "Hugging Face agent, run mode"
    splits = tuple(_TASKS)
    runs_code = True

    def __init__(self, prompt: Path | None = None) -> None:
        self.prompt = prompt

    def completed(self, plan: TaskPlan) -> TaskPlan:
        """The plan; in a chat where it is the original's, which has no other way."""
        return super().completed(replace(plan, chat=plan.chat or plan.procedure.is_original))

    def usual_shots(self, plan: TaskPlan) -> tuple[int, ...]:
        return (0,)

    def files(self, folder: Path, plan: TaskPlan) -> list[Path]:
        return [folder / _TASKS[plan.split or "own"], self.prompt or folder / _PROMPT]

    def items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        path, prompt_path = self.files(folder, plan)
        prompt = read_text(prompt_path).removesuffix("\n")
        if missing := [mark for mark in (_TOOLS_MARK, _TASK_MARK) if mark not in prompt]:
            raise PromptError(f"{prompt_path} has no {missing[0]}: is it the prompt of an agent's run mode?")
        tools, problems = _read_tasks(path)
        described = "\n".join(f"- {tool['name']}: {tool['description']}" for tool in tools)
        prompt = prompt.replace(_TOOLS_MARK, described)
        asked = [(problem, words) for problem in problems for words in problem["tasks"]]
        return [
            Item(
                subject="run",
                row=number,
                prompt=_renamed(prompt.replace(_TASK_MARK, words), plan),
                answer=problem["answers"][0],
                source={"task": words, "problem": json.dumps(problem), "tools": json.dumps(tools)},
            )
            for number, (problem, words) in enumerate(asked[: plan.limit])
        ]

    def wanted(self, plan: TaskPlan) -> Text:
        if plan.procedure.is_original:
            return Text(max_new_tokens=ORIGINAL_TOKENS)
        return Text(max_new_tokens=_STANDARD_TOKENS, stop=(_STOP,))

    def read(self, item: Item, output: str, plan: TaskPlan) -> Reading:
        parts = _parts(output, plan)
        if parts is None:
            return Reading(predicted="", correct=None, scores={SELECTED: 0.0, USED: 0.0, CODE: 0.0})
        problem, tools = _problem(item)
        inputs = problem["inputs"]
        if not isinstance(inputs, Mapping):
            inputs = {name: f"<<{name}>>" for name in inputs}
        told = {"code": parts[1], "answers": problem["answers"], "inputs": inputs, "tools": tools}
        script = Path(__file__).with_name("tool_script.py").read_text("utf-8")
        return Reading(
            predicted=parts[1],
            correct=None,
            program=Program(code=f"{script}\n\nmain({json.dumps(told)!r})\n"),
        )

    def decide(
        self, item: Item, output: str, plan: TaskPlan, reading: Reading, *, passed: bool, printed: str
    ) -> Reading:
        """The reading with its scores, once its code was evaluated; where that took too long, it came to nothing."""
        parts = _parts(output, plan)
        assert parts is not None
        problem, tools = _problem(item)
        verdict = json.loads(printed) if passed else {"equal": None, "inside": None}
        equal, inside = verdict["equal"], verdict["inside"]
        # Where there are several right answers, the tools are those of the one that was given.
        chosen = inside if inside is not None else equal or 0
        names = [tool["name"] for tool in tools]
        right = {name for name in names if name in problem["answers"][chosen]}
        scores = {
            SELECTED: _likeness({name for name in names if f"`{name}`" in parts[0]}, right),
            USED: _likeness({name for name in names if name in parts[1]}, right),
            CODE: 1.0 if equal is not None else 0.75 if inside is not None else 0.3,
        }
        return replace(reading, correct=equal is not None, scores=scores)

    def summarize(self, outcomes: Sequence[Outcome], plan: TaskPlan) -> Summary:
        scores = {
            name: [100 * outcome.reading.scores.get(name, 0.0) for outcome in outcomes]
            for name in (SELECTED, USED, CODE)
        }
        remark = ""
        if num_fatal := sum(not outcome.reading.scores.get(CODE) for outcome in outcomes):
            remark = (
                f"{counted(num_fatal, 'reply', 'replies')} without one {_ANSWER!r}, at which transformers' own program "
                "would stop, counted as 0 here."
            )
        return Summary(
            score=fmean(scores[CODE]),
            interval=bootstrap_interval(scores[CODE], fmean),
            groups={},
            more={name: fmean(scores[name]) for name in (SELECTED, USED)},
            remark=remark,
        )


def _likeness(tools: AbstractSet[str], right: AbstractSet[str]) -> float:
    """A quarter less for each tool that is missing, and for each that is too many."""
    return max(0.0, 1 - 0.25 * len(tools ^ right))


def _renamed(prompt: str, plan: TaskPlan) -> str:
    for name, other in _RENAMED if plan.procedure.is_original else ():
        prompt = prompt.replace(name, other)
    return prompt


def _parts(output: str, plan: TaskPlan) -> tuple[str, str] | None:
    """A reply's explanation and its code; None for a reply at which transformers' own program stops."""
    reply = output
    if plan.procedure.is_original:
        reply = chat_text(output).removesuffix(_STOP)
        for name, other in _RENAMED:
            reply = reply.replace(other, name)
    parts = f"{_OPENING}{reply}".split(_ANSWER)
    if len(parts) != 2:
        return None
    lines = parts[1].strip().split("\n")
    if lines[0] in _FENCES:
        del lines[0]
    if not lines:
        return None
    if lines[-1] == "```":
        del lines[-1]
    return parts[0].strip(), "\n".join(lines)


def _problem(item: Item) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return json.loads(item.source["problem"]), json.loads(item.source["tools"])


def _read_tasks(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The tools and the problems of a file. Raises PromptError for one that is damaged."""
    try:
        found: Any = parse_json(read_text(path).encode())
    except ValueError as error:
        raise PromptError(f"{path}: not JSON ({error})") from None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), list) for name in ("tools", "problems")):
        raise PromptError(f"{path}: should be a JSON object with lists of tools and problems, found {quoted(found)}")
    tools, problems = found["tools"], found["problems"]
    for number, tool in enumerate(tools, start=1):
        texts = [tool.get(name) for name in ("name", "description", "returns")] if isinstance(tool, dict) else [None]
        if not all(isinstance(text, str) and text for text in texts) or not _are_texts(tool.get("parameters")):
            raise PromptError(
                f"{path}: tool {number} should have a name, a description, parameters and what it returns"
            )
    names = [tool["name"] for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PromptError(f"{path}: two tools have the name {twice!r}: give each its own")
    for number, problem in enumerate(problems, start=1):
        lists = [problem.get(name) for name in ("tasks", "answers")] if isinstance(problem, dict) else [None]
        if not all(own and _are_texts(own) for own in lists) or not isinstance(problem.get("inputs"), list | dict):
            raise PromptError(f"{path}: problem {number} should have tasks, inputs and answers")
        if not any(name in problem["answers"][0] for name in names):
            raise PromptError(f"{path}: the answer of problem {number} calls no tool: {quoted(problem['answers'][0])}")
    if not problems:
        raise PromptError(f"{path} has no problems")
    return tools, problems


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
