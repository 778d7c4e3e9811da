"""Judges replies that `qwen7b eval bfcl --out DIR` recorded by bfcl-eval's own runner, beside our verdicts.

The runner has more rules than its checker, which alone `eval bfcl` uses, and reads calls out of replies by its handler
for Qwen's models. Replies in the dialect tool_call are given to it as they are, calls in other dialects rewritten. Its
other libraries are not needed: stand-ins take their place.

    pip install --no-deps --target bfcl bfcl-eval==2026.3.23
    python benchmarks/bfcl_referee.py --data bfcl --results results
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_REFEREE = """
import importlib.abc, importlib.machinery, json, sys, types
from unittest.mock import MagicMock

sys.path.insert(0, sys.argv[1])
REAL = ("bfcl_eval.constants.enums", "bfcl_eval.constants.type_mappings", "bfcl_eval.eval_checker.ast_eval",
        "bfcl_eval.eval_checker.eval_runner", "bfcl_eval.model_handler.local_inference.qwen_fc")
PACKAGES = ("bfcl_eval", "bfcl_eval.constants", "bfcl_eval.eval_checker", "bfcl_eval.model_handler",
            "bfcl_eval.model_handler.local_inference")

class StandIn(types.ModuleType):
    __all__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        is_theirs = name.startswith("bfcl_eval")
        if name == "bfcl_eval.utils" or name in PACKAGES and name != "bfcl_eval.model_handler.local_inference":
            return None
        if is_theirs and name.startswith(REAL) or name in PACKAGES:
            return None
        if not is_theirs and name.partition(".")[0] in sys.stdlib_module_names:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Finder())
import overrides
overrides.override = lambda function: function
import bfcl_eval.model_handler.local_inference.base_oss_handler as base
base.OSSHandler = object
import bfcl_eval.constants.model_config as table
table.MODEL_CONFIG_MAPPING = {"qwen7b": types.SimpleNamespace(underscore_to_dot=False)}
from bfcl_eval.constants.enums import Language, ReturnFormat
from bfcl_eval.eval_checker import eval_runner
from bfcl_eval.model_handler.local_inference.qwen_fc import QwenFCHandler
from bfcl_eval.utils import is_empty_output, is_function_calling_format_output

vars(eval_runner).update(
    is_empty_output=is_empty_output, is_function_calling_format_output=is_function_calling_format_output
)
handler = object.__new__(QwenFCHandler)
verdicts = []
for row in json.load(sys.stdin):
    entry, category, reply = {"function": row["functions"]}, row["category"], row["reply"]
    if "relevance" in category:
        found = eval_runner._evaluate_single_relevance_entry(handler, row["id"], reply, entry, "qwen7b", category)
    else:
        found = eval_runner._evaluate_single_ast_entry(
            handler, row["id"], reply, row["answers"], entry, "qwen7b", category, Language.PYTHON, ReturnFormat.PYTHON
        )
    verdicts.append([found["valid"], str(found.get("error", ""))])
print(json.dumps(verdicts))
"""


def official_verdicts(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[tuple[bool, str]]:
    """What bfcl-eval's runner makes of rows with id, category, functions, answers and reply."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", _REFEREE, str(folder)],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"bfcl-eval's runner does not run: {done.stderr[-2000:]}")
    return [(valid, error) for valid, error in json.loads(done.stdout)]


def rewritten(record: Mapping[str, Any]) -> str:
    """The calls of a record in the dialect tool_call."""
    calls = [
        f'{{"name": {json.dumps(call["name"])}, "arguments": {_as_json(call["arguments"])}}}'
        for call in json.loads(record["output"])
    ]
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)


def _as_json(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def main() -> None:
    from qwen7b.tasks.bfcl import Bfcl
    from qwen7b.tasks.procedure import TaskPlan

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with bfcl-eval")
    parser.add_argument("--results", type=Path, required=True, help="what bfcl wrote with --out")
    arguments = parser.parse_args()
    dialect = json.loads((arguments.results / "bfcl.json").read_text("utf-8"))["signature"]["dialect"]
    lines = (arguments.results / "bfcl.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    task = Bfcl(is_constrained=False)
    plan = task.completed(TaskPlan(subjects=tuple({record["subject"]: None for record in records})))
    items = {item.id: item for item in task.found_items(arguments.data, plan)}
    rows = [
        {
            "id": record["id"],
            "category": record["subject"],
            "functions": json.loads(items[record["id"]].source["function"]),
            "answers": None if "relevance" in record["subject"] else json.loads(record["answer"]),
            "reply": record["reply"] if dialect == "tool_call" else rewritten(record),
        }
        for record in records
    ]
    verdicts = official_verdicts(arguments.data, rows)
    differing = {
        record["id"]: {"ours": [record["correct"], record.get("error", "")], "theirs": verdict}
        for record, verdict in zip(records, verdicts, strict=True)
        if record["correct"] is not verdict[0]
    }
    print(json.dumps({"replies": len(records), "right": sum(one[0] for one in verdicts), "other verdicts": differing}))


if __name__ == "__main__":
    main()
