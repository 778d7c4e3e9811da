"""Imports go only down the floors of the house and never round in a circle, and importing the package stays cheap."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "qwen7b"
FLOORS = runpy.run_path(str(ROOT / "docs" / "rooms.py"))["FLOORS"]
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}
HEAVY = ("torch", "transformers", "huggingface_hub", "tiktoken", "numpy", "gguf", "rich", "prompt_toolkit")
MAX_LINES = 300
"""Of a file."""
MAX_SHARE = 0.12
"""Of a room, in the package's lines."""
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """The room that a dotted module name belongs to; the package itself is "__init__"."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def name_of(path: Path) -> str:
    """The dotted name of a source file."""
    names = ["qwen7b", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = {name_of(path): path for path in SOURCES}


def imported_modules(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of our own modules in `tree`, lazy and type-checking ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            # `from qwen7b import text` names a room; `from qwen7b import load` names the public face.
            names = [full if (full := f"{base}.{a.name}") in MODULES else base for a in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "qwen7b")


def upward_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    importer = room_of(module)
    complaints = []
    for line, imported in imported_modules(ast.parse(source), module, is_package=is_package):
        target = room_of(imported)
        if target not in HEIGHT:
            complaints.append(f"{line}: {imported} has no floor: give it one in docs/rooms.py")
        elif target != importer and HEIGHT[target] >= HEIGHT[importer]:
            complaints.append(f"{line}: {importer} may not import {imported}")
    return complaints


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_only_down(path: Path) -> None:
    module = name_of(path)
    assert room_of(module) in HEIGHT, f"{path.name} has no floor: give it one in docs/rooms.py"
    complaints = upward_imports(path.read_text("utf-8"), module, is_package=path.name == "__init__.py")
    assert not complaints, "\n".join(f"{path}:{complaint}" for complaint in complaints)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("qwen7b.text.chatml", "def f():\n    import qwen7b.loading.loading"),
        ("qwen7b.text.chatml", "from ..generate import Reply"),
        ("qwen7b.text.chatml", "from ..model import cache"),
        ("qwen7b.hub.repository", "from qwen7b import generate"),
        ("qwen7b.hub.repository", "from qwen7b import load"),
        ("qwen7b.hf.chat_mixin", "from qwen7b.evals import needle"),
        ("qwen7b.errors", "from . import config"),
        ("qwen7b.model.cache", "import qwen7b.new_idea"),
    ],
)
def test_upward_imports_are_found(module: str, source: str) -> None:
    assert upward_imports(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("qwen7b.text.chatml", "from .tokenizer import Tokenizer\nfrom qwen7b.errors import PromptError"),
        ("qwen7b.generate.engine", "from ..text import chatml\nfrom qwen7b import model\nimport torch"),
        ("qwen7b.cli.chat", "import qwen7b\nfrom qwen7b import load"),
    ],
)
def test_downward_imports_pass(module: str, source: str) -> None:
    assert not upward_imports(source, module)


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_test_modules_do_not_import_each_other(path: Path) -> None:
    """Nor do the programs that tests start: what several need is in a module that is no test."""
    imports = re.findall(r"^\s*(?:from|import) (?:[\w.]+\.)?test_\w+", path.read_text("utf-8"), re.MULTILINE)
    assert not imports


def circle_among(imports: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, if there are any."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_files_import_each_other_in_a_circle() -> None:
    imports = {}
    for module, path in MODULES.items():
        found = imported_modules(ast.parse(path.read_text("utf-8")), module, is_package=path.name == "__init__.py")
        imports[module] = {name for _, name in found}
    assert circle_among(imports) == []
    assert len(imports["qwen7b.generate.qwen"]) > 10


def test_circles_are_found() -> None:
    assert circle_among({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert circle_among({"face": {"face.file"}, "face.file": {"face"}})
    assert not circle_among({"a": {"b", "c"}, "b": {"c"}})


def test_every_room_is_there_and_says_what_it_is_for() -> None:
    for room in HEIGHT:
        file = PACKAGE / f"{room}.py"
        face = file if file.is_file() else PACKAGE / room / "__init__.py"
        assert ast.get_docstring(ast.parse(face.read_text("utf-8")))


def test_no_room_and_no_file_is_too_large() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}
    for room in HEIGHT:
        count = sum(lines[path] for path in SOURCES if room_of(name_of(path)) == room)
        assert count <= MAX_SHARE * sum(lines.values()), f"{room} has {count} lines"


@pytest.mark.parametrize("module", ["qwen7b", "qwen7b.cli.app", "qwen7b.evals.preparation"])
def test_importing_is_cheap(module: str) -> None:
    program = f"import sys, {module}; print(*(set({HEAVY!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
