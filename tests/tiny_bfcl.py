"""A folder like that of PyPI's bfcl-eval: a question of each category, and a checker that knows one right answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ADD: dict[str, Any] = {
    "name": "math.add",
    "description": "Adds.",
    "parameters": {
        "type": "dict",
        "properties": {
            "numbers": {"type": "tuple", "items": {"type": "float"}},
            "type": {"type": "any", "default": "dict"},
            "more": {"type": "dict", "properties": {"it": {"type": "string"}}},
        },
        "required": ["numbers"],
    },
}
ROW: dict[str, Any] = {
    "id": "row",
    "question": [[{"role": "user", "content": "What is 2 + 3?"}]],
    "function": [ADD],
    "ground_truth": [{"math.add": {"numbers": [[2, 3]]}}],
}
CHECKER = """
from bfcl_eval.constants.enums import Language
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING


def ast_checker(functions, calls, answers, language, category, model):
    assert language is Language.PYTHON and not MODEL_CONFIG_MAPPING[model].underscore_to_dot
    assert functions and category
    right = [{name: {key: values[0] for key, values in own.items()}} for one in answers for name, own in one.items()]
    return {"valid": calls == right, "error": [] if calls == right else [f"expected {right[0]['math.add']}"]}
"""
CATEGORIES = ("simple", "multiple", "parallel", "parallel_multiple", "irrelevance", "live_relevance")


def write_bfcl(folder: Path, **rows: Sequence[Mapping[str, Any]]) -> Path:
    package = folder / "bfcl_eval"
    for name in ("data/possible_answer", "constants", "eval_checker/ast_eval"):
        (package / name).mkdir(parents=True, exist_ok=True)
    (package / "constants" / "enums.py").write_text("class Language:\n    PYTHON = object()\n", "utf-8")
    (package / "constants" / "type_mappings.py").write_text("", "utf-8")
    (package / "eval_checker" / "ast_eval" / "ast_checker.py").write_text(CHECKER, "utf-8")
    for category in (*CATEGORIES, *rows):
        name = {"simple": "simple_python"}.get(category, category)
        own = rows.get(category) or [ROW | {"id": f"{name}_0"}]
        questions = [{key: row[key] for key in ("id", "question", "function")} for row in own]
        answers = [{"id": row["id"], "ground_truth": row["ground_truth"]} for row in own]
        for path, lines in (("data", questions), ("data/possible_answer", answers)):
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (package / path / f"BFCL_v4_{name}.json").write_text(text, "utf-8")
    return folder
