"""Writes the pages on the code: docs/code.md with a picture, a page for every room, and the lists of rooms elsewhere.

.venv/bin/python docs/code.py

A test keeps the pages in step with the code.
"""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE, KERNELS, PAGES = ROOT / "src" / "qwen7b", ROOT / "kernels", ROOT / "docs" / "code"
HOUSE = runpy.run_path(str(Path(__file__).with_name("rooms.py")))
FLOORS: list[dict[str, tuple[str, str]]] = HOUSE["FLOORS"]
WAY: list[tuple[str, str]] = HOUSE["WAY"]
READING: dict[str, str] = HOUSE["READING"]
PICTURE = ROOT / "docs" / "rooms.svg"
BEGIN, END = "<!-- rooms: written by docs/code.py -->\n", "<!-- end of rooms -->"
WRITTEN = "Written by `.venv/bin/python docs/code.py`."
HIDDEN = ("__init__", "__main__", "installation")
"""The rooms that README leaves out."""


def pages() -> dict[Path, str]:
    """Every page that is written from the code, with its content."""
    return {
        ROOT / "docs" / "code.md": code_page(),
        ROOT / "README.md": with_rooms(ROOT / "README.md", purposes(0)),
        ROOT / "README_CN.md": with_rooms(ROOT / "README_CN.md", purposes(1)),
        ROOT / "CONTRIBUTING.md": with_rooms(ROOT / "CONTRIBUTING.md", order()),
        **{PAGES / f"{room}.md": room_page(room) for room in READING},
    }


def code_page() -> str:
    """The first page: the picture, the way of a question, and links to the rooms."""
    purpose = {room: texts[0] for floor in FLOORS for room, texts in floor.items()}
    return "\n".join(
        [
            "# The code, room by room",
            "",
            WRITTEN,
            "",
            "![The rooms of the package, floor by floor](rooms.svg)",
            "",
            "Imports go only down, and rooms of one floor do not import each other.",
            "",
            "## The way of a question",
            "",
            "What `qwen7b chat` does, from the arguments to the reply:",
            "",
            *(f"{step}. [`{room}`](code/{room}.md) {does}." for step, (room, does) in enumerate(WAY, 1)),
            "",
            "## The rooms, lowest first",
            "",
            *(f"- [`{room}`](code/{room}.md): {purpose[room]}" for room in purpose if room in READING),
            "",
            "Beside them stand",
            "",
            *(
                f"- [`{file.name}`](../src/qwen7b/{file.name}): {summary(file)}"
                for file in sorted(PACKAGE.glob("*.py"))
            ),
            "",
        ]
    )


def room_page(room: str) -> str:
    """A room's page: its purpose, then its files in reading order, each with its docstring."""
    folder, own = PACKAGE / room, rooms_imported(room)
    lines = [f"# {room}", "", WRITTEN, "", docstring(folder / "__init__.py"), ""]
    lines += [f"Stands on {', '.join(f'[`{other}`]({other}.md)' for other in own)}.", ""] if own else []
    for file in reading_order(room):
        lines += [f"## [{file.name}](../../src/qwen7b/{room}/{file.name})", "", docstring(file), ""]
    if room == "kernels":
        lines += ["## The C++", "", "In the order in which the compiler meets it:", ""]
        for file in compiled_order():
            name = file.relative_to(KERNELS).as_posix()
            lines.append(
                f"- [`{name}`](../../kernels/{name})" + (f": {description}" if (description := comment(file)) else "")
            )
        lines.append("")
    return "\n".join(lines)


def reading_order(room: str) -> list[Path]:
    """The room's files as docs/rooms.py orders them; those that it does not name come last, by name."""
    named = READING[room].split()
    files = [file for file in (PACKAGE / room).rglob("*.py") if file.name != "__init__.py"]
    return sorted(files, key=lambda file: (named.index(file.stem) if file.stem in named else len(named), file.name))


def rooms_imported(room: str) -> list[str]:
    """The rooms with a page that this one imports, lowest first."""
    sources = "\n".join(file.read_text("utf-8") for file in (PACKAGE / room).rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) qwen7b\.(\w+)", sources, re.MULTILINE))
    return [other for floor in FLOORS for other in floor if other in imported and other in READING and other != room]


def compiled_order() -> list[Path]:
    """The C++ files in the order of inclusion: first the interface, then each file followed by its new includes."""
    seen: dict[Path, None] = {}

    def visit(file: Path) -> None:
        if file.is_file() and file not in seen:
            seen[file] = None
            # A macro gives the shared headers the name of the vector header.
            for name in re.findall(r'^#\s*(?:include|define \w+) "([^"]+)"', file.read_text("utf-8"), re.MULTILINE):
                visit(KERNELS / name if (KERNELS / name).is_file() else file.parent / name)

    for file in (KERNELS / "qwen7b.h", KERNELS / "library.cpp", *sorted(KERNELS.rglob("*.*"))):
        if file.suffix in (".h", ".cpp"):
            visit(file)
    return list(seen)


def comment(file: Path) -> str:
    """The first sentence of the comment at the head of a C++ file, if it has one."""
    head = file.read_text("utf-8")
    lines = (line.strip("/* ") for line in head.split("\n\n")[0].splitlines() if line.startswith(("/", " *")))
    return re.split(r"(?<=\.) ", " ".join(lines).strip(), maxsplit=1)[0]


def docstring(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text("utf-8")))
    assert text, f"{file} has no docstring"
    return re.sub(r"\s*# doctest: \+SKIP", "", text)


def summary(file: Path) -> str:
    return docstring(file).splitlines()[0]


def lines_of(room: str) -> int:
    """How many lines of code a room has, the kernels' C++ included."""
    own = PACKAGE / f"{room}.py"
    files = [own] if own.is_file() else [*(PACKAGE / room).rglob("*.py")]
    files += compiled_order() if room == "kernels" else []
    return sum(len(file.read_text("utf-8").splitlines()) for file in files)


def with_rooms(page: Path, rooms: str) -> str:
    """The page with new text between its two marks."""
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
    PAGES.mkdir(exist_ok=True)
    for page in PAGES.glob("*.md"):
        page.unlink()
    for page, content in pages().items():
        page.write_text(content, "utf-8")
    draw = runpy.run_path(str(Path(__file__).with_name("picture.py")))["draw"]
    floors = [{room: texts[0] for room, texts in floor.items() if room not in HIDDEN} for floor in FLOORS]
    floors = [floor for floor in floors if floor]
    PICTURE.write_text(draw(floors, {room: lines_of(room) for floor in floors for room in floor}), "utf-8")
