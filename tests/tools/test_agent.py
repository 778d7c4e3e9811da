"""An agent calls, observes and goes on; whatever happens, a run has one outcome and leaves a conversation to go on
with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import qwen7b
from qwen7b.errors import PromptError, Qwen7bError, SettingError
from qwen7b.generate import Piece
from qwen7b.text.messages import ToolCall
from qwen7b.tools import Agent, AgentRun, Tool, ToolDefinition, ToolResult, read_transcript
from scripted import ScriptedQwen, call
from talking import assistant, system, user

ADD = Tool({"name": "add"}, lambda a, b: a + b, read_only=True)


def raising(error: BaseException) -> Tool:
    def run(**arguments: Any) -> None:
        raise error

    return Tool({"name": "add"}, run)


def check_conversation(messages: list[Any]) -> None:
    """Every call has one result, in order, before anything else is said."""
    awaited: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert awaited.pop(0) == message["tool_call_id"]
        else:
            assert not awaited
            awaited = [each["id"] for each in message.get("tool_calls", ())]
    assert not awaited


def run(replies: list[Any], tool: Any = ADD, **settings: Any) -> tuple[AgentRun, ScriptedQwen]:
    qwen = ScriptedQwen(replies, finish_reason=settings.pop("finish_reason", None))
    done = Agent(qwen, [tool], **settings).run("17+25?")  # type: ignore[arg-type]
    check_conversation(done.messages)
    return done, qwen


def test_it_calls_observes_and_goes_on() -> None:
    done, qwen = run(
        [["I add. ", call("add", a=17, b=25)], [call("add", a=42, b=0), call("add", a=1, b=2)], "It is 42."]
    )
    assert (done.text, done.outcome, len(done.replies)) == ("It is 42.", "answered", 3)
    assert [result.text for result in done.results] == ["42", "42", "3"]
    assert done.messages[0] == user("17+25?") and done.messages[-1] == assistant("It is 42.")
    roles = [message["role"] for message in done.messages]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "tool", "assistant"]
    assert qwen.asked[1][0] == done.messages[:3]
    assert qwen.asked[0][1] == {"tools": ADD.definitions}
    assert done.usage.prompt_tokens == 21 and done.seconds > 0


def test_it_is_part_of_the_public_face() -> None:
    assert qwen7b.Agent is Agent


def test_a_conversation_goes_on_from_a_run() -> None:
    first, _ = run([[call("add", a=1, b=2)], "3"])
    qwen = ScriptedQwen(["Four."])
    second = Agent(qwen, [ADD], system="Be brief.").run([*first.messages, user("And 1?")])  # type: ignore[arg-type]
    assert second.messages == [system("Be brief."), *first.messages, user("And 1?"), assistant("Four.")]
    again = Agent(qwen, [ADD], system="Be long.").run(second.messages)  # type: ignore[arg-type]
    assert again.messages[0] == system("Be brief.")


def test_a_stream_has_pieces_results_and_the_run() -> None:
    agent = Agent(ScriptedQwen([["Hm", call("add", a=1, b=2)], "3"]), [ADD])  # type: ignore[arg-type]
    events = list(agent.stream("1+2?"))
    assert [type(event) for event in events] == [Piece, Piece, Piece, ToolResult, Piece, Piece, AgentRun]


def test_settings_go_to_every_reply_and_a_choice_to_the_first() -> None:
    _, qwen = run([[call("add", a=1, b=2)], "3"], tool_choice="required", seed=3)
    assert [asked[1].get("tool_choice") for asked in qwen.asked] == ["required", None]
    assert [asked[1]["seed"] for asked in qwen.asked] == [3, 3]


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (raising(ValueError("too large")), "Error: ValueError: too large"),
        (raising(Qwen7bError("the MCP server has ended")), "Error: Qwen7bError: the MCP server has ended"),
        (raising(PromptError("odd")), "Error: PromptError: odd"),
        (Tool({"name": "sub"}, lambda: 0), "Error: LookupError: there is no tool 'add': the tools are sub"),
        (Tool({"name": "add"}, lambda a, b: b"\xff" * 9), "[binary data: 9 bytes]"),
    ],
)
def test_what_goes_wrong_in_a_tool_is_told_to_the_model(tool: Tool, expected: str) -> None:
    done, qwen = run([[call("add", a=1, b=2)], "Sorry."], tool)
    assert qwen.asked[1][0][-1]["content"] == expected
    assert (done.text, done.outcome) == ("Sorry.", "answered")


def test_arguments_that_cannot_be_read_are_told_to_the_model() -> None:
    done, _ = run([[ToolCall("add", "a=1, b=2")], "Sorry."])
    assert done.results[0].is_error and "write one JSON object" in done.results[0].text


def test_a_model_that_never_stops_calling_must_answer_at_last() -> None:
    calls = [[call("add", a=step, b=2)] for step in range(3)]
    done, qwen = run([*calls, "About 4."], max_steps=4)
    assert (done.outcome, done.text, len(done.results)) == ("steps", "About 4.", 3)
    assert [asked[1].get("tool_choice") for asked in qwen.asked] == [None, None, None, "none"]
    assert run(calls, max_steps=1)[0].outcome == "steps"


def test_a_model_that_calls_whatever_it_is_told_is_stopped() -> None:
    done, qwen = run([[call("add", a=step, b=2)] for step in range(99)], max_steps=4)
    assert (done.outcome, len(done.replies), len(done.results), len(qwen.asked)) == ("steps", 4, 4, 4)


def test_a_model_that_goes_round_in_a_circle_must_answer() -> None:
    done, qwen = run([*[[call("add", a=1, b=2)]] * 3, "3"])
    assert (done.outcome, done.text, len(done.results)) == ("steps", "3", 3)
    assert [asked[1].get("tool_choice") for asked in qwen.asked] == [None, None, None, "none"]


def test_an_approval_that_fails_is_a_refusal_that_is_told() -> None:
    def approve(one: ToolCall) -> bool:
        raise ValueError("the terminal is gone")

    tool = Tool({"name": "add"}, lambda a, b: a + b)
    done, _ = run([[call("add", a=1, b=2)], "Sorry."], tool, approve=approve)
    assert (done.outcome, done.results[0].is_error) == ("answered", True)
    assert done.results[0].text.endswith("whether this call is allowed (ValueError: the terminal is gone)")


def test_a_run_that_takes_too_long_is_ended_between_calls() -> None:
    slow = Tool({"name": "add"}, lambda a, b: time.sleep(0.05))
    done, qwen = run([[call("add", a=1, b=2)] * 40], slow, max_seconds=0.12)
    assert done.outcome == "seconds" and len(qwen.asked) == 1 and len(done.results) == 40
    assert done.results[0].text == "null"
    assert done.results[-1].text == "Error: not run, as the time for this task is up"


def test_a_tool_has_the_time_that_its_run_has_left() -> None:
    done, _ = run([[call("add", a=1, b=2)]], Tool({"name": "add"}, lambda a, b: time.sleep(30)), max_seconds=0.1)
    assert done.outcome == "seconds" and "the tool may still be running" in done.results[0].text
    assert done.seconds < 5


class SlowQwen(ScriptedQwen):
    """A stand-in that takes its time for each piece."""

    def _say(self, parts: list[Any], number: int) -> Any:
        for piece in (pieces := super()._say(parts, number)):
            time.sleep(0.02)
            try:
                yield piece
            except KeyboardInterrupt as interrupt:
                yield pieces.throw(interrupt)  # type: ignore[attr-defined]


def test_a_long_reply_is_cut_off_when_the_time_is_up() -> None:
    done = Agent(SlowQwen([["word "] * 1000]), [ADD], max_seconds=0.1).run("Talk")  # type: ignore[arg-type]
    assert done.outcome == "seconds" and 1 <= len(done.text.split()) < 100
    assert done.messages == [user("Talk"), assistant(done.text)]


def test_long_results_are_cut() -> None:
    done, _ = run([[call("add", a=1, b=2)], "."], Tool({"name": "add"}, lambda a, b: "x" * 10**6))
    assert len(done.results[0].text) <= 8000 and " of 1,000,000 characters left out" in done.results[0].text


@pytest.mark.parametrize(("answer", "text"), [(True, "3"), (False, "Error: the user does not allow this call")])
def test_what_is_not_read_only_is_asked_about(answer: bool, text: str) -> None:
    asked: list[ToolCall] = []

    def approve(one: ToolCall) -> bool:
        asked.append(one)
        return answer

    done, qwen = run([[call("add", a=1, b=2)], "."], Tool({"name": "add"}, lambda a, b: a + b), approve=approve)
    assert qwen.asked[1][0][-1]["content"] == text and [each.name for each in asked] == ["add"]
    assert done.outcome == "answered"
    run([[call("add", a=1, b=2)], "."], ADD, approve=pytest.fail)


@pytest.mark.parametrize("place", ["tool", "approval", "reply", "piece"])
def test_ctrl_c_leaves_a_conversation_to_go_on_with(place: str) -> None:
    tool: Tool = raising(KeyboardInterrupt()) if place == "tool" else Tool({"name": "add"}, lambda a, b: a + b)
    calls = [call("add", a=1, b=2), call("add", a=3, b=4)]
    replies = [["I ", KeyboardInterrupt()] if place == "reply" else ["I ", *calls], "done"]

    def approve(one: ToolCall) -> bool:
        raise KeyboardInterrupt

    agent = Agent(
        ScriptedQwen(replies),  # type: ignore[arg-type]
        [tool],
        tool_seconds=None,
        approve=approve if place == "approval" else None,
    )
    events = agent.stream("Go")
    if place == "piece":
        next(events)
        events.throw(KeyboardInterrupt())
    *_, done = events
    assert isinstance(done, AgentRun)
    check_conversation(done.messages)
    assert done.outcome == "interrupted"
    assert done.messages[1]["content"] == "I "
    assert [result.text for result in done.results] == {
        "tool": [
            "Error: the user interrupted; the tool may still be running",
            "Error: not run, as the user interrupted",
        ],
        "approval": ["Error: not run, as the user interrupted"] * 2,
    }.get(place, [])
    assert Agent(ScriptedQwen(["ok"])).run([*done.messages, user("Go on")]).text == "ok"  # type: ignore[arg-type]


def test_a_real_ctrl_c_does_not_wait_for_a_tool_that_hangs() -> None:
    let_go = threading.Event()

    def hang() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        let_go.wait(30)

    start = time.monotonic()
    try:
        done, _ = run([[call("hang"), call("hang")]], Tool({"name": "hang"}, hang))
    finally:
        let_go.set()
    assert time.monotonic() - start < 10 and done.outcome == "interrupted"
    assert [result.text for result in done.results] == [
        "Error: the user interrupted; the tool may still be running",
        "Error: not run, as the user interrupted",
    ]


def test_a_reply_that_is_cut_off_runs_nothing() -> None:
    done, _ = run([["I add ", call("add", a=1, b=2)]], raising(AssertionError()), finish_reason="length")
    assert (done.outcome, done.results) == ("length", ())
    assert done.messages == [user("17+25?"), assistant("I add ")]


def test_results_that_leave_no_room_end_the_run() -> None:
    full = PromptError("the prompt has 9000 tokens")

    class Full(ScriptedQwen):
        def stream(self, messages: list[Any], **settings: Any) -> Any:
            if len(self.asked) == len(self.replies):
                raise full
            return super().stream(messages, **settings)

    done = Agent(Full([[call("add", a=1, b=2)]]), [ADD]).run("Go")  # type: ignore[arg-type]
    assert done.outcome == "length" and len(done.messages) == 3
    with pytest.raises(PromptError, match="9000"):
        Agent(Full([]), [ADD]).run("Go")  # type: ignore[arg-type]


def test_a_server_that_dies_is_told_of_by_its_calls() -> None:
    class Dying:
        dead = False

        @property
        def definitions(self) -> list[ToolDefinition]:
            if self.dead:
                raise Qwen7bError("the server has ended")
            return [ToolDefinition(name="add")]

        def is_read_only(self, name: str) -> bool:
            return True

        def call(self, name: str, arguments: dict[str, Any]) -> object:
            self.dead = True
            return "last words"

    calls = [[call("add", a=1, b=2)], [call("add", a=1, b=2)], "It is gone."]
    done, qwen = run(calls, Dying(), approve=lambda call: True)
    assert [result.text for result in done.results] == [
        "last words",
        "Error: Qwen7bError: the server has ended",
    ]
    assert qwen.asked[2][1]["tools"] == [ToolDefinition(name="add")] and done.outcome == "answered"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": 0}, "max_steps must be a whole number of at least 1, found 0"),
        ({"max_seconds": 0}, "max_seconds must be a number above 0, found 0"),
        ({"tool_seconds": "1"}, "tool_seconds must be a number above 0"),
        ({"max_result_characters": 10}, "max_result_characters must be a whole number of at least 200, found 10"),
        ({"approve": True}, "approve must be a function of a call, found True"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Agent(ScriptedQwen(["x"]), [ADD], **settings)  # type: ignore[arg-type]


def test_a_transcript_is_written_as_it_happens(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    done, _ = run([["I add. ", call("add", a=17, b=25)], "42"], transcript=path)
    first, *others = map(json.loads, path.read_text().splitlines())
    assert first["messages"] == [user("17+25?")] and first["tools"] == [{"name": "add", "description": ""}]
    assert [line["message"] for line in others[:-1]] == done.messages[1:]
    assert others[-1]["outcome"] == "answered" and others[1]["is_error"] is False


def test_a_run_in_an_event_loop_is_the_same_and_coroutines_run_in_that_loop() -> None:
    replies = [[call("add", a=17, b=25)], "It is 42."]
    loops, asked = [], []

    async def add(a: int, b: int) -> int:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return a + b

    async def approve(call: ToolCall) -> bool:
        asked.append((call.name, asyncio.get_running_loop()))
        return True

    def new_agent() -> Agent:
        return Agent(ScriptedQwen(replies), [Tool({"name": "add"}, add)], approve=approve)  # type: ignore[arg-type]

    async def answer() -> tuple[AgentRun, list[Any], Any]:
        done, events = await new_agent().arun("17+25?"), [event async for event in new_agent().astream("17+25?")]
        return done, events, asyncio.get_running_loop()

    done, events, loop = asyncio.run(answer())
    assert (done.messages, done.outcome) == (run(replies)[0].messages, "answered")
    assert events[-1].messages == done.messages and len(events) == 6
    assert loops == [loop] * 2 and asked == [("add", loop)] * 2


def test_an_approval_that_is_a_coroutine_is_waited_for_in_a_plain_run_too() -> None:
    async def refuse(call: ToolCall) -> bool:
        return False

    tool = raising(AssertionError("it ran"))
    assert run([[call("add")], "Sorry."], tool, approve=refuse)[0].results[0].text.endswith("does not allow this call")


def test_runs_in_an_event_loop_go_on_at_once() -> None:
    async def answer() -> list[AgentRun]:
        everybody = asyncio.Barrier(3)

        async def meet() -> str:
            await everybody.wait()
            return "met"

        agent = Agent(ScriptedQwen([[call("meet")]] * 3 + ["Done."]), [meet])  # type: ignore[arg-type]
        return await asyncio.gather(*(agent.arun("Go") for _ in range(3)))

    assert [one.results[0].text for one in asyncio.run(answer())] == ["met"] * 3


def test_what_a_run_raises_is_raised_in_the_event_loop() -> None:
    agent = Agent(ScriptedQwen([[PromptError("too long")]]))  # type: ignore[arg-type]
    with pytest.raises(PromptError, match="too long"):
        asyncio.run(agent.arun("Go"))


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_run_in_an_event_loop_ends_with_its_task(tmp_path: Path, is_closed: bool) -> None:
    path, qwen = tmp_path / "run.jsonl", SlowQwen([["word "] * 1000])
    agent = Agent(qwen, transcript=path)  # type: ignore[arg-type]

    async def leave() -> None:
        if is_closed:
            async with contextlib.aclosing(agent.astream("Talk")) as events:
                await anext(events)
        else:
            task = asyncio.create_task(agent.arun("Talk"))
            while not qwen.asked:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())
    deadline = time.monotonic() + 10
    while (last := json.loads(path.read_text().splitlines()[-1])).keys() != {"outcome", "seconds"}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert last["outcome"] == "interrupted" and len(read_transcript(path)[-1]["content"].split()) < 100
