"""Runs the cells of a session one after another, in a process that is confined already, and answers each.

Variables stay, the value of a cell's last expression is shown, and figures are drawn, as at IPython's prompt. Part of
what the sandbox starts: standard library only.
"""

from __future__ import annotations

import builtins
import marshal
import os
import sys

from qwen7b.sandbox.figures import Figures
from qwen7b.sandbox.values import LENGTH_BYTES, read_exactly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from qwen7b.sandbox.program import Channel

CHANNEL_LOST = 251
"""The exit code that says so."""
MAX_CHARACTERS = 200_000
"""What is told of a value or an error; with the figures it is less than an answer may have."""
_COROUTINE = 0x80
"""inspect.CO_COROUTINE, which takes long to import."""


def run_cells(channel: Channel) -> NoReturn:
    """Run cells until none can come any more."""
    session = _Session()
    runner = os.getpid()
    try:
        while True:
            token, cell = marshal.loads(_receive(channel.incoming))
            answer = session.run(*marshal.loads(cell))
            if os.getpid() != runner:  # the cell forked, and this is the child's copy of the rest
                os._exit(0)
            _send(channel.outgoing, token, answer)
    except (OSError, EOFError):
        os._exit(CHANNEL_LOST)


class _Session:
    def __init__(self) -> None:
        self.module = type(sys)("__main__")
        sys.modules["__main__"] = self.module
        builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # as at a prompt
        builtins.display = self.display  # type: ignore[attr-defined]
        self.figures = Figures()
        self.streams = sys.stdout, sys.stderr
        self.places = os.dup(1), os.dup(2)
        self.folder = os.getcwd()
        self.loop: Any = None

    def run(self, code: str, number: int) -> dict[str, Any]:
        """Run a cell; what it printed is in the streams, all else in the answer."""
        self.restore()
        name = f"<cell {number}>"
        answer: dict[str, Any] = {"value": None, "error": None}
        try:
            value = self.execute(code, name)
            if value is not None:
                self.module.__dict__["_"] = value
                answer["value"] = _clip(repr(value))
                self.figures.add_value(value)
        except BaseException as error:
            answer["error"] = _clip(_describe(error))
        try:
            self.figures.collect()
        except BaseException as error:
            answer["error"] = answer["error"] or _clip(_describe(error))
        answer["figures"] = self.figures.take()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # the cell closed it, or put something else in its place
                continue
        return answer

    def execute(self, code: str, name: str) -> Any:
        """Execute a cell; the value of its last expression, unless a semicolon follows, as at IPython's prompt."""
        import ast
        import linecache

        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        tree = _parse(code, name)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not code.rstrip().endswith(";"):
            last = ast.Expression(tree.body.pop().value)
        self.evaluate(tree, name, "exec")
        return None if last is None else self.evaluate(last, name, "eval")

    def evaluate(self, tree: Any, name: str, mode: str) -> Any:
        import ast

        compiled = compile(tree, name, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        value = eval(compiled, self.module.__dict__)
        if not compiled.co_flags & _COROUTINE:
            return value
        import asyncio

        self.loop = self.loop or asyncio.Runner()
        return self.loop.run(value)

    def display(self, *values: Any) -> None:
        """Show values at once: as figures where they are some, else printed."""
        for value in values:
            if not self.figures.add_value(value):
                print(value)

    def restore(self) -> None:
        """Make standard output and standard error the session's again, whatever an earlier cell did to them.

        Where it removed the folder that it was in, the session's own is the next cell's.
        """
        try:
            os.getcwd()
        except OSError:
            os.chdir(self.folder)
        for place, kept in enumerate(self.places, 1):
            os.dup2(kept, place)
        opened = [_open(place) if stream.closed else stream for place, stream in enumerate(self.streams, 1)]
        self.streams = sys.stdout, sys.stderr = opened[0], opened[1]


def _open(place: int) -> Any:
    return open(place, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _parse(code: str, name: str) -> Any:
    import ast
    import re

    # Figures are shown in any case, and models ask for that out of habit.
    plain = re.sub(r"(?m)^([ \t]*)%matplotlib\b.*", r"\1pass", code)
    for text in dict.fromkeys((code, plain)):
        try:
            return ast.parse(text, name)
        except SyntaxError as error:
            problem = error
    if re.search(r"(?m)^[ \t]*[!%]", plain):
        problem.add_note("This is Python: it knows no commands with ! and no magics with %.")
    raise problem.with_traceback(None)


def _clip(text: str) -> str:
    more = len(text) - MAX_CHARACTERS
    return text if more <= 0 else f"{text[:MAX_CHARACTERS]} ... and {more:,} characters more"


def _describe(error: BaseException) -> str:
    """The traceback, without the steps before the cell."""
    import traceback

    way = error.__traceback__  # None in the end, for an error of syntax
    while way and not way.tb_frame.f_code.co_filename.startswith("<cell "):
        way = way.tb_next
    return "".join(traceback.format_exception(type(error), error, way)).rstrip("\n")


def _receive(pipe: int) -> bytes:
    return read_exactly(pipe, int.from_bytes(read_exactly(pipe, LENGTH_BYTES)))


def _send(pipe: int, token: bytes, answer: dict[str, Any]) -> None:
    import json

    content = token + json.dumps(answer).encode("ascii")
    content = len(content).to_bytes(LENGTH_BYTES) + content
    while content:
        content = content[os.write(pipe, content) :]
