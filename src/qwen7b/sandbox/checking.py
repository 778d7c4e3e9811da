"""Runs the check of a program, in another process than the program's: only here is it decided that it passed.

The program cannot forge that. It can neither look into this process nor see the check, and all that comes from it are
plain values, as results of calls. Part of what the sandbox starts: standard library only.
"""

from __future__ import annotations

import builtins

from qwen7b.sandbox.program import Channel, end_with
from qwen7b.sandbox.values import decode, encode, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType
    from typing import Any, NoReturn


class Function:
    """A function of the program's: arguments go there as copies, and its result comes back as one."""

    def __init__(self, name: str, channel: Channel) -> None:
        self.__name__ = name
        self._channel = channel

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        given = {key: encode(value) for key, value in keywords.items()}
        send(self._channel.outgoing, [self.__name__, [encode(value) for value in arguments], given])
        return _result(self._channel)


def run_check(code: str, channel: Channel) -> NoReturn:
    """Run a check once the program is ready, and end this process: with code 0 only where the check came to its end.

    A name that is neither the check's own nor built in is a function of the program's.
    """

    def run() -> None:
        _result(channel)
        compiled = compile(code, "<check>", "exec", dont_inherit=True)
        names = [name for name in _names(compiled) if not hasattr(builtins, name)]
        try:
            exec(compiled, {"__name__": "check", **{name: Function(name, channel) for name in names}})
        except SystemExit as error:
            raise RuntimeError("the check did not come to its end: it left by SystemExit") from error

    end_with(run, code=code, name="<check>")


def _names(code: CodeType) -> Iterator[str]:
    """Names that code and the functions in it may look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            yield from _names(constant)


def _result(channel: Channel) -> Any:
    """What the program says next: nothing when it is ready, else a call's value; raises what the call raised."""
    try:
        kind, *content = receive(channel.incoming)
    except EOFError:
        raise RuntimeError("the program ended before its check") from None
    if kind == "ready":
        return None
    if kind == "value":
        return decode(content[0])
    name, message = content
    # An end of iteration could end a loop of the check's early.
    known = None if name in {"StopIteration", "StopAsyncIteration"} else getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        raise known(message)
    raise RuntimeError(f"{name}: {message}")
