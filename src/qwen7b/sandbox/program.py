"""Runs the program, in a process that is confined already. Part of what the sandbox starts: standard library only."""

from __future__ import annotations

import builtins
import sys

from qwen7b.sandbox.values import decode, encode, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

OUT_OF_MEMORY = 250
"""The exit code that says so."""


class Channel:
    """One side's ends of two pipes between a program and its check."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self.incoming = incoming
        self.outgoing = outgoing

    def pipes(self) -> tuple[int, int]:
        return self.incoming, self.outgoing


def run_program(code: str, channel: Channel | None) -> NoReturn:
    """Run code as a script, or where there is a check as a module whose functions are called; then end the process."""
    # A check calls what an import would find: a script's own main part is not run, as HumanEval does not run it.
    module = type(sys)("__main__" if channel is None else "program")
    sys.modules[module.__name__] = module
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # as at a prompt

    def run() -> None:
        exec(compile(code, "<program>", "exec", dont_inherit=True), module.__dict__)
        if channel is not None:
            _answer_calls(module, channel)

    end_with(run, code=code, name="<program>")


def end_with(run: Callable[[], None], *, code: str, name: str) -> NoReturn:
    """Let a function run `code`, and end the process as Python does it: an error is shown and makes the exit code 1."""
    try:
        run()
    except SystemExit:
        raise
    except BaseException as error:
        try:
            _show(error, code, name)
        except Exception:  # the program can have broken what this needs
            sys.__excepthook__(type(error), error, None)
        raise SystemExit(OUT_OF_MEMORY if isinstance(error, MemoryError) else 1) from None
    raise SystemExit(0)  # the interpreter still waits for threads and calls what was registered for its end


def _show(error: BaseException, code: str, name: str) -> None:
    import linecache
    import traceback

    way = error.__traceback__
    while way and way.tb_frame.f_code.co_filename != name:
        way = way.tb_next
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    traceback.print_exception(type(error), error, way)


def _answer_calls(module: Any, channel: Channel) -> None:
    """Call the functions that the check asks for, until it has ended."""
    reply: list[Any] = ["ready"]
    while True:
        send(channel.outgoing, reply)
        try:
            name, arguments, keywords = receive(channel.incoming)
        except EOFError:
            return
        try:
            if name not in module.__dict__:
                raise NameError(f"name {name!r} is not defined in the program")
            given = {key: decode(value) for key, value in keywords.items()}
            reply = ["value", encode(module.__dict__[name](*map(decode, arguments), **given))]
        except Exception as error:
            reply = ["raised", type(error).__name__, f"{error!s:.1000}"]
