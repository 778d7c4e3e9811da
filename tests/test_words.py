"""The words of the code: docstrings are sentences with a subject, and limits are called by the field's names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "qwen7b"
SOURCES = sorted(PACKAGE.rglob("*.py"))
FRAGMENT = re.compile(r"(Of|From|For) ")
DIALECT = re.compile(r"\b_?(MOST|LEAST)(_|\b)")


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string that stands alone: of modules, classes, functions, fields and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value.strip()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_docstring_is_a_fragment_and_no_limit_is_called_most(path: Path) -> None:
    source = path.read_text("utf-8")
    assert [(line, text) for line, text in docstrings(ast.parse(source)) if FRAGMENT.match(text)] == []
    assert DIALECT.findall(source) == []


def test_a_class_name_names_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_names_are_the_field_s_words() -> None:
    """The rooms whose names have been read through; a value found is `actual`, or what it is."""
    rooms = ("system", "config", "files", "hub", "kernels", "checkpoint", "packing", "loading")
    dialect = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
            if path.parent.name in rooms and name in ("asked", "found", "given", "lacking", "said", "wanted"):
                dialect.append((str(path.relative_to(PACKAGE)), name))
    assert dialect == []
