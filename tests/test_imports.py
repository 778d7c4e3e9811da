"""Imports go only down the layers of the house, and importing the package stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "qwen7b"

# Lowest first; parts that share a line stand side by side and do not import each other.
LAYERS = [
    ("gguf_names", "installation"),
    ("container", "errors"),
    ("importing", "regular_file"),
    ("checked", "json_file", "memory", "whole_file"),
    ("rotary_scaling",),
    ("config", "gguf_header"),
    ("gguf_parts",),
    ("long_context",),
    ("text",),
    ("kernels",),
    ("quant",),
    ("model",),
    ("weights",),
    ("generate",),
    ("diagnosis",),
    ("tools",),
    ("evals", "hf", "train", "serve"),
    ("__init__",),
    ("cli",),
    ("__main__",),
]
HEIGHT = {part: height for height, layer in enumerate(LAYERS) for part in layer}
HEAVY = ("torch", "transformers", "huggingface_hub", "tiktoken", "numpy", "gguf", "rich", "prompt_toolkit")


def part_of(module: str) -> str:
    """The layer's member that a dotted module name belongs to; the package itself is "__init__"."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


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
            # `from qwen7b import text` names a part; `from qwen7b import load` names the public face.
            names = [f"{base}.{a.name}" if base == "qwen7b" and a.name in HEIGHT else base for a in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "qwen7b")


def upward_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    importer = part_of(module)
    complaints = []
    for line, imported in imported_modules(ast.parse(source), module, is_package=is_package):
        target = part_of(imported)
        if target not in HEIGHT:
            complaints.append(f"{line}: {imported} has no layer: give it one in tests/test_imports.py")
        elif target != importer and HEIGHT[target] >= HEIGHT[importer]:
            complaints.append(f"{line}: {importer} may not import {imported}")
    return complaints


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_only_down(path: Path) -> None:
    names = ["qwen7b", *path.relative_to(PACKAGE).with_suffix("").parts]
    is_package = names[-1] == "__init__"
    module = ".".join(names[:-1] if is_package else names)
    assert part_of(module) in HEIGHT, f"{path.name} has no layer: give it one in tests/test_imports.py"
    complaints = upward_imports(path.read_text(encoding="utf-8"), module, is_package=is_package)
    assert not complaints, "\n".join(f"{path}:{complaint}" for complaint in complaints)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("qwen7b.text.chatml", "def f():\n    import qwen7b.model.cache"),
        ("qwen7b.text.chatml", "from ..generate import Reply"),
        ("qwen7b.weights.hub", "from qwen7b import generate"),
        ("qwen7b.weights.hub", "from qwen7b import load"),
        ("qwen7b.serve.app", "from qwen7b.train import masks"),
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


@pytest.mark.parametrize("module", ["qwen7b", "qwen7b.cli.app"])
def test_importing_is_cheap(module: str) -> None:
    program = f"import sys, {module}; print(*(set({HEAVY!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
