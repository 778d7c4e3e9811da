"""Writes docs/code.md, every source file with the first line of its docstring, and the lists of rooms on other pages.

.venv/bin/python docs/code.py

A test keeps the pages in step with the code.
"""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "qwen7b"
FLOORS: list[dict[str, tuple[str, str]]] = runpy.run_path(str(Path(__file__).with_name("rooms.py")))["FLOORS"]
BEGIN, END = "<!-- rooms: written by docs/code.py -->\n", "<!-- end of rooms -->"
HIDDEN = ("__init__", "__main__", "installation")
"""What README passes over."""


def pages() -> dict[Path, str]:
    """Every page that is written from the code, with its content."""
    return {
        ROOT / "docs" / "code.md": code_page(),
        ROOT / "README.md": with_rooms(ROOT / "README.md", purposes(0)),
        ROOT / "README_CN.md": with_rooms(ROOT / "README_CN.md", purposes(1)),
        ROOT / "CONTRIBUTING.md": with_rooms(ROOT / "CONTRIBUTING.md", order()),
    }


def code_page() -> str:
    """The files as Markdown, in the order in which imports go."""
    lines = ["# The code, file by file", "", "Written by `.venv/bin/python docs/code.py`."]
    rooms = [room for floor in FLOORS for room in floor]
    for folder in ("", *(room for room in rooms if (PACKAGE / room).is_dir())):
        files = sorted((PACKAGE / folder).glob("*.py" if not folder else "**/*.py"))
        lines += ["", f"## qwen7b/{folder}", ""]
        lines += [f"- `{file.relative_to(PACKAGE / folder)}`: {summary(file)}" for file in files]
    return "\n".join(lines) + "\n"


def summary(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8")))
    assert docstring, f"{file} has no docstring"
    return docstring.splitlines()[0]


def with_rooms(page: Path, rooms: str) -> str:
    """The page with what stands between the marks written anew."""
    before, rest = page.read_text("utf-8").split(BEGIN)
    return before + BEGIN + rooms + rest[rest.index(END) :]


def purposes(language: int) -> str:
    """A line for each room, as a block of code."""
    shown = [(room, texts[language]) for floor in FLOORS for room, texts in floor.items() if room not in HIDDEN]
    return "\n" + "".join(f"    {room:<12}{purpose}\n" for room, purpose in shown) + "\n"


def order() -> str:
    """A line for each floor."""
    return "\n" + "".join(f"      {', '.join(floor)}\n" for floor in FLOORS) + "\n"


if __name__ == "__main__":
    for page, content in pages().items():
        page.write_text(content, "utf-8")
