"""The tools of a Python file: its functions, and the servers and other sources of tools that it makes."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

from qwen7b.errors import SettingError
from qwen7b.tools.toolbox import ToolSource


def load_tools(path: str | Path) -> list[object]:
    """Run a Python file, and return its list TOOLS, or else its functions and `ToolSource`s, in the file's order.

    What is imported, or begins with an underscore, is none of them. Raises SettingError where the file cannot be run or
    has no tools.
    """
    path = Path(path).expanduser()
    module = _run(path)
    listed = getattr(module, "TOOLS", None)
    if listed is not None and not isinstance(listed, (list, tuple)):
        raise SettingError(f"TOOLS in {path} must be a list of tools, found {type(listed).__name__}")
    found = [*_own(module)] if listed is None else [*listed]
    if not found:
        raise SettingError(f"{path} has no tools: define functions in it, whose names do not begin with an underscore")
    return found


def _own(module: ModuleType) -> list[object]:
    return [
        value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            value.__module__ == module.__name__
            if inspect.isfunction(value)
            else not isinstance(value, type) and isinstance(value, ToolSource)
        )
    ]


def _run(path: Path) -> ModuleType:
    if not path.exists():
        raise SettingError(f"there is no file {path}: name a Python file with functions, such as tools.py")
    if path.suffix != ".py" or not path.is_file():
        raise SettingError(f"{path} is not a Python file: name one with functions, such as tools.py")
    name = f"qwen7b_tools_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its annotations are looked up
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as if it were run as a program
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        line = next((frame.lineno for frame in reversed(inspect.trace()) if frame.filename == str(path)), None)
        place = "" if line is None else f" in line {line}"
        raise SettingError(f"{path} cannot be run: {type(error).__name__}{place}: {error}") from error
    return module
