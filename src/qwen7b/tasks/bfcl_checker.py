"""Runs the checker of PyPI's bfcl-eval: a line of JSON in, a verdict out. A script, for a process of its own.

Nothing is imported but the standard library and, from the folder that is named, that package's checker.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

MODEL = "qwen7b"


def main(folder: str) -> None:
    sys.path.insert(0, folder)
    # The package's table of models imports every vendor's library. The checker asks it one thing: whether a model
    # writes underscores for the dots in functions' names.
    table = ModuleType("bfcl_eval.constants.model_config")
    vars(table)["MODEL_CONFIG_MAPPING"] = {MODEL: SimpleNamespace(underscore_to_dot=False)}
    sys.modules[table.__name__] = table
    python = import_module("bfcl_eval.constants.enums").Language.PYTHON
    ast_checker = import_module("bfcl_eval.eval_checker.ast_eval.ast_checker").ast_checker
    for line in sys.stdin:
        told = json.loads(line)
        calls = [{call["name"]: call["arguments"]} for call in told["calls"]]
        try:
            verdict = ast_checker(told["functions"], calls, told["answers"], python, told["category"], MODEL)
        except Exception as error:  # it is not made for every value that a model may write
            verdict = {"valid": False, "error": f"the checker stops: {type(error).__name__}: {error}"}
        print(json.dumps({"valid": verdict["valid"], "error": str(verdict["error"] or "")}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
