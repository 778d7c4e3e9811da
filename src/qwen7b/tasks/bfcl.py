"""BFCL, the Berkeley Function Calling Leaderboard: single-turn questions of its version 4 (Patil et al. 2025).

Questions, right answers and the checker are those of PyPI's bfcl-eval; the checker runs in a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qwen7b.errors import MissingExtraError, PromptError, SettingError, quoted
from qwen7b.tasks.intervals import wilson_interval
from qwen7b.tasks.item import Calls, Item, Outcome, Reading, Summary
from qwen7b.tasks.procedure import TaskPlan
from qwen7b.tasks.table_files import Row, read_json_objects
from qwen7b.tasks.task import Task

PACKAGE = "bfcl-eval==2026.3.23"
USUAL = ("simple", "multiple", "parallel", "parallel_multiple", "irrelevance")
CATEGORIES = (
    *USUAL,
    *("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance", "live_relevance"),
)
"""Those in Python, whose calls are compared as syntax trees, and those that ask whether there is a call at all."""
NO_CALL, ANY_CALL = "no call", "any call"
_FILE_NAMES = {"simple": "simple_python"}
_WITHOUT_ANSWERS = {"irrelevance": NO_CALL, "live_irrelevance": NO_CALL, "live_relevance": ANY_CALL}
_DATA = "bfcl_eval/data/BFCL_v4_{}.json"
_ANSWERS = "bfcl_eval/data/possible_answer/BFCL_v4_{}.json"
_CHECKER = ("bfcl_eval/eval_checker/ast_eval/ast_checker.py", "bfcl_eval/constants/type_mappings.py")
_HINT = " Note that the provided function is in Python 3 syntax."
"""What bfcl-eval adds to every description."""
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "list": "array", "bool": "boolean", "any": "string"}
"""JSON Schema's names for BFCL's types; "any" is a text to its checker."""
_UNREADABLE = "arguments that are no JSON object"
_MAX_NEW_TOKENS = 1024


class Bfcl(Task):
    """`dialect` is how tools are described and called, None for the model's own way."""

    name = "bfcl"
    title = "BFCL"
    packages = ("llguidance", "json5")

    def __init__(self, *, dialect: str | None = None, is_constrained: bool = True) -> None:
        self.dialect = dialect
        self.is_constrained = is_constrained

    def completed(self, plan: TaskPlan) -> TaskPlan:
        """The plan, in a chat. Raises SettingError for a procedure of the original's, which is older."""
        if plan.procedure.is_original:
            raise SettingError(f"bfcl is younger than the procedure {plan.procedure}: choose standard")
        plan = super().completed(replace(plan, chat=True, subjects=plan.subjects or USUAL))
        plan.chosen_subjects(CATEGORIES, task="bfcl")
        if self.is_constrained and find_spec("llguidance") is None:
            raise MissingExtraError("llguidance", extra="tools")
        return plan

    def subjects(self) -> list[str]:
        return list(CATEGORIES)

    def usual_shots(self, plan: TaskPlan) -> tuple[int, ...]:
        return (0,)

    def files(self, folder: Path, plan: TaskPlan) -> list[Path]:
        chosen = plan.chosen_subjects(CATEGORIES, task=self.name)
        names = [
            template.format(_FILE_NAMES.get(category, category))
            for category in chosen
            for template in (_DATA, *([] if category in _WITHOUT_ANSWERS else [_ANSWERS]))
        ]
        return [folder / name for name in (*names, *_CHECKER)]

    def found_items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        if missing := [path for path in self.files(folder, plan) if not path.exists()]:
            raise PromptError(
                f"{missing[0]} is not there: install BFCL's data and checker by 'pip install --no-deps --target "
                f"{folder} {PACKAGE}'"
            )
        return self.items(folder, plan)

    def items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        chosen = plan.chosen_subjects(CATEGORIES, task=self.name)
        return [item for category in chosen for item in _read_items(folder, category, plan)]

    def wanted(self, plan: TaskPlan) -> Calls:
        return Calls(max_new_tokens=_MAX_NEW_TOKENS, dialect=self.dialect, is_constrained=self.is_constrained)

    def checker(self, folder: Path) -> list[str]:
        return [str(Path(__file__).with_name("bfcl_checker.py")), str(folder.resolve())]

    def read(self, item: Item, output: str, plan: TaskPlan) -> Reading:
        written = json.loads(output)
        # As bfcl-eval does it for Qwen's models, a call that cannot be read is left out, and the others count.
        calls = [call for call in written if isinstance(call["arguments"], dict)]
        shown = ", ".join(f"{call['name']}({_shown(call['arguments'])})" for call in written) or NO_CALL
        if item.subject in _WITHOUT_ANSWERS:
            return Reading(predicted=shown, correct=bool(calls) == (item.answer == ANY_CALL))
        if not calls:
            return Reading(predicted=shown, correct=False, error=_UNREADABLE if written else NO_CALL)
        told = {
            "functions": json.loads(item.source["function"]),
            "calls": calls,
            "answers": json.loads(item.answer),
            "category": item.subject,
        }
        return Reading(predicted=shown, correct=None, checked=told)

    def summarize(self, outcomes: Sequence[Outcome], plan: TaskPlan) -> Summary:
        right: dict[str, list[bool]] = {}
        for outcome in outcomes:
            right.setdefault(outcome.item.subject, []).append(outcome.reading.correct is True)
        num_right = sum(map(sum, right.values()))
        return Summary(
            score=100 * num_right / len(outcomes),
            interval=wilson_interval(num_right, len(outcomes)),
            groups={category: 100 * sum(own) / len(own) for category, own in right.items()},
        )


def _shown(arguments: object) -> str:
    if not isinstance(arguments, dict):
        return str(arguments)
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())


def _read_items(folder: Path, category: str, plan: TaskPlan) -> list[Item]:
    name = _FILE_NAMES.get(category, category)
    path, answers = folder / _DATA.format(name), dict[str, Any]()
    if category not in _WITHOUT_ANSWERS:
        answers = {
            str(value.get("id")): value.get("ground_truth")
            for _, value in read_json_objects(folder / _ANSWERS.format(name))
        }
    items: list[Item] = []
    seen: set[str] = set()
    for line, value in read_json_objects(path):
        row, found = Row({}, path, line), value.get("id")
        if not isinstance(found, str) or not found or found in seen:
            raise row.error(f"the id should be a text, and no other line's, found {quoted(found)}")
        seen.add(found)
        *earlier, (role, prompt) = _messages(value.get("question"), row)
        if role != "user":
            raise row.error(f"the last message should be the user's, found {quoted(role)}")
        functions = value.get("function")
        if category not in _WITHOUT_ANSWERS and not answers.get(found):
            raise row.error(f"there are no answers to {found!r} in {folder / _ANSWERS.format(name)}")
        items.append(
            Item(
                subject=category,
                row=len(items),
                name=found,
                earlier=tuple(earlier),
                prompt=prompt,
                tools=json.dumps([_tool(function, row) for function in _unique(functions, row)], ensure_ascii=False),
                answer=_WITHOUT_ANSWERS.get(category) or json.dumps(answers[found], ensure_ascii=False),
                source={"function": json.dumps(functions), "question": json.dumps(value["question"])},
            )
        )
    if not items:
        raise PromptError(f"{path} has no questions: install {PACKAGE} again")
    return items[: plan.limit]


def _messages(question: object, row: Row) -> list[tuple[str, str]]:
    """The messages of the only turn."""
    turn = question[0] if isinstance(question, list) and len(question) == 1 else None
    if not isinstance(turn, list) or not turn:
        raise row.error(f"the question should be one turn, a list in a list, found {quoted(question)}")
    for message in turn:
        texts = [message.get(name) for name in ("role", "content")] if isinstance(message, dict) else [None]
        if not all(isinstance(text, str) for text in texts):
            raise row.error(f"a message should have a role and a content, found {quoted(message)}")
    return [(message["role"], message["content"]) for message in turn]


def _unique(functions: object, row: Row) -> list[Mapping[str, Any]]:
    """The functions. Raises PromptError where one has no name, or another's."""
    listed: list[Any] = functions if isinstance(functions, list) else [None]
    names = [function.get("name") if isinstance(function, dict) else None for function in listed]
    for name in names:
        if not isinstance(name, str) or not name:
            raise row.error(f"a function should have a name, a description and parameters, found {quoted(functions)}")
        if names.count(name) > 1:
            raise row.error(f"{names.count(name)} functions have the name {name!r}")
    return listed


def _tool(function: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """A function in OpenAI's form."""
    parameters, description = function.get("parameters"), function.get("description")
    if not isinstance(parameters, dict) or not isinstance(description, str):
        raise row.error(f"the function {function['name']} should have a description and parameters")
    own = {"name": function["name"], "description": description + _HINT, "parameters": _schema(parameters)}
    return {"type": "function", "function": own}


def _schema(found: Any) -> Any:
    """A schema with JSON Schema's names of types."""
    if isinstance(found, list):
        return [_schema(one) for one in found]
    if not isinstance(found, dict):
        return found
    schema: dict[str, Any] = {}
    for key, value in found.items():
        if key == "type" and isinstance(value, str):
            schema[key] = _TYPES.get(value, value)
        elif key == "properties" and isinstance(value, dict):  # of which one may be called "type"
            schema[key] = {name: _schema(own) for name, own in value.items()}
        else:
            schema[key] = _schema(value) if key in ("items", "additionalProperties") else value
    return schema
