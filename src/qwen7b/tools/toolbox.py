"""Tools that can be run: functions, definitions with a function, and servers of tools, found by name."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar, runtime_checkable

from qwen7b.dialects import ToolDefinition, read_definitions
from qwen7b.dialects.arguments import load_code, load_object
from qwen7b.dialects.definition import listed_tools
from qwen7b.errors import SettingError, quoted
from qwen7b.system.deadline import within
from qwen7b.system.signals import EndedBySignal
from qwen7b.text.messages import ToolCall
from qwen7b.tools.tool_result import ReplayError, ToolResult, cut_text, error_text, result_text

TOOL_SECONDS = 60.0
MAX_RESULT_CHARACTERS = 8000
_GRACE_SECONDS = 1.0
"""How long a coroutine may take to notice that it was cancelled."""

FunctionT = TypeVar("FunctionT", bound=Callable[..., object])


@runtime_checkable
class ToolSource(Protocol):
    """Some tools, and how to run them: an MCP server, a code interpreter, a `Tool`, a `Toolbox`."""

    @property
    def definitions(self) -> Sequence[ToolDefinition]:
        """The tools that there are now."""

    def is_read_only(self, name: str) -> bool:
        """Whether the tool changes nothing, so that nobody need be asked before it is run."""

    def call(self, name: str, arguments: dict[str, Any]) -> object:
        """Run a tool. What it raises is told to the model; a result may be awaitable."""


@dataclass(frozen=True)
class Tool:
    """A definition, in any form that `Qwen.chat` takes, with the function that is called with the arguments by name.

    >>> Tool({"name": "now", "description": "The time in seconds"}, time.time, read_only=True).is_read_only("now")
    True
    """

    definition: ToolDefinition | Mapping[str, Any] | Callable[..., object]
    run: Callable[..., object]
    read_only: bool = False

    def __post_init__(self) -> None:
        if not callable(self.run):
            raise SettingError(f"a Tool is run by a function, found {quoted(self.run)}")

    @cached_property
    def definitions(self) -> Sequence[ToolDefinition]:
        return read_definitions([self.definition])

    def is_read_only(self, name: str) -> bool:
        return self.read_only

    def call(self, name: str, arguments: dict[str, Any]) -> object:
        return self.run(**arguments)


def read_only(function: FunctionT) -> FunctionT:
    """Mark a function as one that changes nothing, so that nobody is asked before it is run."""
    function.read_only = True  # type: ignore[attr-defined]
    return function


class Toolbox:
    """Some tools by name. Each call gets a result, whatever the tool does; see `run`."""

    def __init__(self, tools: Sequence[object]) -> None:
        """`tools` are functions, `Tool`s and other `ToolSource`s. Raises SettingError for others, and for two tools of
        one name."""
        self.sources = [_as_source(tool, place) for place, tool in enumerate(listed_tools(tools))]
        self.definitions  # noqa: B018  # raises for two of one name

    @property
    def definitions(self) -> list[ToolDefinition]:
        return read_definitions([definition for source in self.sources for definition in source.definitions])

    def is_read_only(self, name: str) -> bool:
        return (source := self._source_of(name)) is not None and source.is_read_only(name)

    def call(self, name: str, arguments: dict[str, Any]) -> object:
        """Run a tool, and give back what it gives. Raises LookupError where there is none of that name."""
        if (source := self._source_of(name)) is None:
            names = ", ".join(definition.name for definition in self.definitions)
            raise LookupError(f"there is no tool {quoted(name)}: the tools are {names or 'none'}")
        return source.call(name, arguments)

    def run(
        self,
        call: ToolCall,
        *,
        seconds: float | None = TOOL_SECONDS,
        max_characters: int = MAX_RESULT_CHARACTERS,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> ToolResult:
        """Run a call, and turn into text what the tool returns or raises; a long text is cut, which it says.

        A tool has so many `seconds`. A coroutine is then cancelled; a function cannot be stopped, and goes on in its
        thread while the model is told. With None it runs in this thread, without a limit. Coroutines run in `loop`,
        which another thread runs, or without one in a loop of their own.
        """
        start = time.monotonic()
        try:
            value = self._call_within(call, seconds, loop)
            text, is_error = result_text(value), False
        except ReplayError:
            raise
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, EndedBySignal)):
                raise
            text, is_error = error_text(error), True
        duration = time.monotonic() - start
        return ToolResult(call=call, text=cut_text(text, max_characters), is_error=is_error, seconds=duration)

    def _call_within(self, call: ToolCall, seconds: float | None, loop: asyncio.AbstractEventLoop | None) -> object:
        arguments = load_arguments(call, self.definitions)
        start = time.monotonic()
        if seconds is None:
            value = self.call(call.name, arguments)
            return finish(value, loop=loop) if inspect.isawaitable(value) else value
        try:
            value = within(seconds, lambda: self.call(call.name, arguments))
        except TimeoutError as error:
            if time.monotonic() - start < seconds:  # the tool's own
                raise
            raise TimeoutError(f"{error}; the tool may still be running") from None
        if not inspect.isawaitable(value):
            return value
        left = seconds - (time.monotonic() - start)
        return within(left + _GRACE_SECONDS, lambda: finish(value, seconds=left, loop=loop))

    def _source_of(self, name: str) -> ToolSource | None:
        for source in self.sources:
            if any(definition.name == name for definition in source.definitions):
                return source
        return None


def load_arguments(call: ToolCall, definitions: Sequence[ToolDefinition]) -> dict[str, Any]:
    """Read a call's arguments: JSON, or code where the tool takes that. Raises ArgumentsError."""
    takes_code = any(definition.takes_code for definition in definitions if definition.name == call.name)
    return load_code(call.arguments) if takes_code else load_object(call.arguments)


def finish(value: Awaitable[object], *, seconds: float | None = None, loop: asyncio.AbstractEventLoop | None) -> object:
    """Wait for a result, and cancel it after so many seconds. It runs in `loop`, or without one in one of its own."""

    async def wait() -> object:
        try:
            async with asyncio.timeout(seconds) as limit:
                return await value
        except TimeoutError:
            if limit.expired():
                raise TimeoutError("no answer in time; the tool was cancelled") from None
            raise

    return asyncio.run(wait()) if loop is None else asyncio.run_coroutine_threadsafe(wait(), loop).result()


def _as_source(tool: object, place: int) -> ToolSource:
    if isinstance(tool, ToolSource):
        return tool
    if isinstance(tool, (ToolDefinition, Mapping)):
        raise SettingError(f"tools[{place}] says what it is but not how it is run: give Tool(definition, function)")
    if not callable(tool):
        raise SettingError(f"tools[{place}] must be a function, a Tool or a server of tools, found {quoted(tool)}")
    (definition,) = read_definitions([tool])  # which says of most that cannot be run what is wrong with it
    if inspect.isgeneratorfunction(tool) or inspect.isasyncgenfunction(tool):
        raise SettingError(f"the tool {definition.name} yields its results, and a call has one: return them as a list")
    return Tool(definition, _checked(tool), read_only=getattr(tool, "read_only", False) is True)


def _checked(function: Callable[..., object]) -> Callable[..., object]:
    """The function with its arguments checked, and turned from JSON into what their types say."""
    from pydantic import validate_call

    return function if isinstance(function, type) else validate_call(function)  # a pydantic model checks by itself
