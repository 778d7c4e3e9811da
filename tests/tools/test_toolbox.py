"""Tools are found by name and run, and whatever they do, a call gets one result that says so."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from qwen7b.errors import SettingError
from qwen7b.text.messages import ToolCall
from qwen7b.tools import Tool, Toolbox, ToolDefinition, ToolFailure, ToolSource, read_only
from scripted import call

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}


def made(run: Any, name: str = "tool", **options: Any) -> Toolbox:
    return Toolbox([Tool({"name": name}, run, **options)])


def fail(error: BaseException) -> Any:
    def run() -> None:
        raise error

    return run


def hang() -> None:
    time.sleep(30)


async def hang_politely() -> None:
    await asyncio.sleep(30)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("there is no text")


class City(BaseModel):
    """A city that somebody asked for."""

    city: str


def count_up(n: int) -> Iterator[int]:
    yield from range(n)


async def count_politely(n: int) -> AsyncIterator[int]:
    yield n


def measure(a: Metres) -> str:  # type: ignore[name-defined]  # noqa: F821
    return "far"


async def doze() -> str:
    await asyncio.sleep(0.001)
    return "slept"


def test_definitions_with_functions_are_run_by_name() -> None:
    box = Toolbox([Tool({"name": "add", "parameters": SCHEMA}, lambda a, b: a + b), Tool({"name": "now"}, lambda: 3)])
    assert [definition.name for definition in box.definitions] == ["add", "now"]
    result = box.run(ToolCall("add", '{"a": 2, "b": 3}', "call_7"))
    assert (result.text, result.is_error) == ("5", False)
    assert result.message == {"role": "tool", "tool_call_id": "call_7", "name": "add", "content": "5"}


def test_a_toolbox_and_a_server_are_sources_of_tools() -> None:
    class Server:
        definitions = [ToolDefinition(name="时间"), ToolDefinition(name="a.b")]

        def is_read_only(self, name: str) -> bool:
            return name == "a.b"

        def call(self, name: str, arguments: dict[str, Any]) -> object:
            return [name, arguments]

    assert isinstance(Server(), ToolSource) and isinstance(made(hang), ToolSource)
    box = Toolbox([Toolbox([Server()]), Tool({"name": "now"}, hang)])
    assert box.run(call("时间", zone=8)).text == '["时间", {"zone": 8}]'
    assert [box.is_read_only(name) for name in ("时间", "a.b", "now", "other")] == [False, True, False, False]


def test_a_server_may_change_its_tools() -> None:
    class Server:
        definitions = [ToolDefinition(name="old")]

        def is_read_only(self, name: str) -> bool:
            return True

        def call(self, name: str, arguments: dict[str, Any]) -> object:
            return name

    server = Server()
    box = Toolbox([server])
    server.definitions = [ToolDefinition(name="new")]
    assert box.run(call("new")).text == "new"
    assert box.run(call("old")).text == "Error: LookupError: there is no tool 'old': the tools are new"


def test_marks() -> None:
    assert read_only(hang).read_only is True  # type: ignore[attr-defined]
    del hang.read_only  # type: ignore[attr-defined]
    assert made(hang, read_only=True).is_read_only("tool") and not made(hang).is_read_only("tool")


@pytest.mark.parametrize(
    ("run", "arguments", "expected"),
    [
        (lambda: "text", "", "text"),
        (lambda: "text", "{}", "text"),
        (lambda city: city, "{'city': '北京',}", "北京"),
        (doze, "{}", "slept"),
        (fail(ValueError("no such city")), "{}", "Error: ValueError: no such city"),
        (fail(ToolFailure("try Paris")), "{}", "try Paris"),
        (fail(KeyError()), "{}", "Error: KeyError"),
        (fail(Unprintable()), "{}", "Error: Unprintable"),
        (fail(SystemExit(3)), "{}", "Error: SystemExit: 3"),
        (fail(TimeoutError("the server is slow")), "{}", "Error: TimeoutError: the server is slow"),
        (lambda a: a, '{"b": 1}', "Error: TypeError: "),
        (lambda a: a, "a = 1", "Error: ArgumentsError: the arguments "),
        (lambda a: a, '{"a": 1, "a": 2}', "Error: ArgumentsError: the arguments say two things of 'a'"),
    ],
)
@pytest.mark.parametrize("seconds", [5.0, None])
def test_what_a_tool_returns_or_raises_is_its_result(
    run: Any, arguments: str, expected: str, seconds: float | None
) -> None:
    result = made(run).run(ToolCall("tool", arguments), seconds=seconds)
    assert result.text.startswith(expected) and (expected.startswith("Error") or result.text == expected)
    assert result.is_error == (expected.startswith("Error") or expected == "try Paris")


def test_a_pydantic_model_is_run_as_it_is_described() -> None:
    box = Toolbox([City])
    assert box.run(call("City", city="Paris")).text == '{"city": "Paris"}'
    assert box.run(call("City")).text == "Error: city: Field required"


@pytest.mark.parametrize(("run", "end"), [(hang, "the tool may still be running"), (hang_politely, "was cancelled")])
def test_a_tool_that_hangs_is_left(run: Any, end: str) -> None:
    start = time.monotonic()
    result = made(run).run(call("tool"), seconds=0.05)
    assert (
        result.is_error and result.text.startswith("Error: TimeoutError: no answer in ") and result.text.endswith(end)
    )
    assert result.seconds < time.monotonic() - start + 0.001 < 5


def test_a_coroutine_runs_beside_a_running_loop() -> None:
    async def ask() -> str:
        return made(doze).run(call("tool"), seconds=5).text

    assert asyncio.run(ask()) == "slept"


def test_without_a_limit_a_tool_runs_in_the_calling_thread() -> None:
    box = made(lambda: threading.current_thread().name)
    here = threading.current_thread().name
    assert box.run(call("tool"), seconds=None).text == here != box.run(call("tool")).text


@pytest.mark.parametrize("value", ["字" * 300_000, b"x" * 300_000, ["x"] * 300_000])
def test_megabytes_are_cut_and_say_so(value: object) -> None:
    text = made(lambda: value).run(call("tool"), max_characters=500).text
    assert len(text) <= 500 and " characters left out …]" in text
    assert made(lambda: text).run(call("tool"), max_characters=500).text == text


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ("add", "tools must be a list, found 'add'"),
        ({"name": "add"}, "tools must be a list"),
        ([{"name": "add"}], r"tools\[0\] says what it is but not how it is run: give Tool"),
        ([ToolDefinition(name="add")], "not how it is run"),
        ([3], r"tools\[0\] must be a function, a Tool or a server of tools, found 3"),
        ([Tool({"name": "a"}, hang), Tool({"name": "a"}, hang)], "2 tools have the name 'a'"),
        ([Unprintable], "Unprintable is a class: give a function"),
        ([measure], "the signature of the tool measure cannot be read: name 'Metres' is not defined"),
        ([count_up], "the tool count_up yields its results, and a call has one: return them as a list"),
        ([count_politely], "the tool count_politely yields its results"),
    ],
)
def test_what_cannot_be_run_is_refused(tools: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Toolbox(tools)
    with pytest.raises(SettingError, match="a Tool is run by a function, found 'x'"):
        Tool({"name": "a"}, "x")  # type: ignore[arg-type]
