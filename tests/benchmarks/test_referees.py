"""The referees of tools' benchmarks, where their packages lie: the official verdicts are ours.

QWEN7B_REFEREES names a folder with bfcl and transformers, installed as benchmarks/*_referee.py say.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest

from qwen7b.dialects.arguments import load_object
from qwen7b.dialects.definition import read_definitions
from qwen7b.dialects.dialect import read_reply
from qwen7b.dialects.registry import find_dialect
from qwen7b.evals.output_reader import OutputReader
from qwen7b.tasks.bfcl import CATEGORIES, Bfcl
from qwen7b.tasks.hf_agent import CODE, OWN_FOLDER
from qwen7b.tasks.item import Item
from qwen7b.tasks.procedure import TaskPlan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def referee(name: str) -> Path:
    folder = Path(os.environ.get("QWEN7B_REFEREES", "/none")) / name
    if not folder.is_dir():
        pytest.skip(f"needs {name} in the folder that QWEN7B_REFEREES names")
    return folder


def calls_for(item: Item, random: Random) -> list[dict[str, Any]]:
    """Calls as the right answers have them, now and then with something amiss."""
    if not item.answer.startswith("["):
        return [{"name": "any", "arguments": {}}] if random.random() < 0.5 else []
    calls: list[dict[str, Any]] = []
    for answer in json.loads(item.answer):
        ((name, own),) = answer.items()
        given = {key: next((value for value in values if value != ""), None) for key, values in own.items()}
        calls.append({"name": name, "arguments": {key: value for key, value in given.items() if value is not None}})
    arguments = calls[0]["arguments"]
    if arguments and random.random() < 0.4:
        key = random.choice(list(arguments))
        arguments[key] = random.choice([None, [arguments[key]], str(arguments[key]).upper(), 7, True, {}])
    if random.random() < 0.1:
        calls.append(calls[0])
    return calls


def test_bfcls_runner_gives_our_verdicts() -> None:
    folder, random, dialect = referee("bfcl"), Random(0), find_dialect("tool_call")
    task = Bfcl(is_constrained=False)
    plan = task.completed(TaskPlan(subjects=CATEGORIES, limit=15))
    rows, ours = [], []
    with OutputReader(task, plan, None, folder) as reader:  # type: ignore[arg-type]  # no text is tokenized
        for item in task.found_items(folder, plan):
            lines = [json.dumps(call) for call in calls_for(item, random)]
            reply = "\n".join(f"<tool_call>\n{line}\n</tool_call>" for line in lines)
            found = read_reply(dialect.parser(read_definitions(json.loads(item.tools))), reply).calls
            output = json.dumps([{"name": call.name, "arguments": load_object(call.arguments)} for call in found])
            ours.append(reader.read(item, output).correct)
            answers = json.loads(item.answer) if item.answer.startswith("[") else None
            functions = json.loads(item.source["function"])
            told = {"id": item.id, "category": item.subject, "functions": functions, "answers": answers}
            rows.append({**told, "reply": reply})
    theirs = [verdict[0] for verdict in benchmark("bfcl_referee").official_verdicts(folder, rows)]
    assert len(ours) > 150 and 0.2 < sum(theirs) / len(theirs) < 0.9
    assert ours == theirs


def test_transformers_program_gives_our_golden_scores() -> None:
    folder = referee("transformers")
    golden = Path(__file__).parents[1] / "golden" / "hf_agent.jsonl"
    rows = [json.loads(line) for line in golden.read_text("utf-8").splitlines()]
    tasks = json.loads((OWN_FOLDER / "tasks.json").read_text("utf-8"))
    problems = [problem for problem in tasks["problems"] for _ in problem["tasks"]]
    replies = [(problems[row["row"]], row["reply"]) for row in rows]
    theirs = benchmark("hf_agent_referee").referee_scores(folder, tasks["tools"], replies)
    assert theirs == [row["scores"] for row in rows] and any(scores and scores[CODE] == 1 for scores in theirs)
