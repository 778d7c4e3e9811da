"""Writes docs/code.md: every source file with the first line of its docstring. A test keeps the page in step.

.venv/bin/python docs/code.py > docs/code.md
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "qwen7b"
FOLDERS = (
    "text",
    "kernels",
    "quant",
    "model",
    "weights",
    "generate",
    "diagnosis",
    "tools",
    "evals",
    "hf",
    "train",
    "serve",
    "cli",
)


def page() -> str:
    """The page as Markdown, in the order in which imports go."""
    lines = ["# The code, file by file", "", "Written by `.venv/bin/python docs/code.py > docs/code.md`."]
    for folder in ("", *FOLDERS):
        files = sorted((PACKAGE / folder).glob("*.py" if not folder else "**/*.py"))
        if files:
            lines += ["", f"## qwen7b/{folder}", ""]
            lines += [f"- `{file.relative_to(PACKAGE / folder)}`: {summary(file)}" for file in files]
    return "\n".join(lines) + "\n"


def summary(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8")))
    assert docstring, f"{file} has no docstring"
    return docstring.splitlines()[0]


if __name__ == "__main__":
    print(page(), end="")
