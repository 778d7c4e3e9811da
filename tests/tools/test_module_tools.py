"""A Python file's functions are tools, and a file that has none or cannot be run says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen7b.errors import SettingError
from qwen7b.text.messages import ToolCall
from qwen7b.tools import Toolbox
from qwen7b.tools.module_tools import load_tools

FILE = """
import datetime
from dataclasses import dataclass
from os.path import join
from neighbour import factor
from qwen7b.tools import Tool, read_only


@dataclass
class Point:
    x: int


@read_only
def scale(point: Point, day: datetime.date) -> int:
    '''Scale a point.

    Args:
        point: the point
        day: the day
    '''
    return point.x * factor + day.year


async def later() -> str:
    '''Wait.'''
    return "done"


def _helper() -> None: ...


extra = Tool({"name": "extra"}, lambda: "more")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "neighbour.py").write_text("factor = 10\n")

    def write(text: str, name: str = "my_tools.py") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_functions_and_sources_of_a_file_are_tools(write) -> None:
    box = Toolbox(load_tools(write(FILE)))
    assert [definition.name for definition in box.definitions] == ["scale", "later", "extra"]
    assert [box.is_read_only(definition.name) for definition in box.definitions] == [True, False, False]
    result = box.run(ToolCall("scale", '{"point": {"x": 2}, "day": "2026-01-02"}'))
    assert result.text == "2046"  # the arguments are what the function's types say
    assert box.run(ToolCall("later", "")).text == "done" and box.run(ToolCall("extra", "{}")).text == "more"
    refused = box.run(ToolCall("scale", '{"point": {"x": "two"}, "day": "2026-01-02"}'))
    assert refused.is_error and refused.text.startswith("Error: point.x: Input should be a valid integer")
    assert "errors.pydantic.dev" not in refused.text
    assert (
        box.run(ToolCall("scale", "{}")).text
        == "Error: point: Missing required argument; day: Missing required argument"
    )


def test_a_list_of_tools_goes_before(write) -> None:
    tools = load_tools(write(FILE + "\nTOOLS = [later]\n"))
    assert [definition.name for definition in Toolbox(tools).definitions] == ["later"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "my_tools.py has no tools: define functions in it"),
        ("\nx = 1 / 0\n", "my_tools.py cannot be run: ZeroDivisionError in line 2: division by zero"),
        ("import nowhere_at_all\n", "my_tools.py cannot be run: ModuleNotFoundError in line 1: No module named"),
        ("def f(:\n", "my_tools.py cannot be run: SyntaxError"),
        ("TOOLS = 3\n", "TOOLS in .*my_tools.py must be a list of tools, found int"),
    ],
)
def test_a_file_without_tools_says_why(write, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load_tools(write(text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"there is no file .*absent\.py: name a Python file with functions"):
        load_tools(tmp_path / "absent.py")


@pytest.mark.parametrize("name", ["tools.txt", "."])
def test_what_is_no_python_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "tools.txt").write_text(FILE)
    with pytest.raises(SettingError, match="is not a Python file: name one with functions"):
        load_tools(tmp_path / name)
