"""One run of an agent: the model replies, its calls are run, and it goes on with their results, until it is done."""

from __future__ import annotations

import inspect
import time
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qwen7b.dialects import ToolDefinition
from qwen7b.errors import PromptError
from qwen7b.generate.reply import Piece, Reply, Usage
from qwen7b.text.messages import Message, ToolCall
from qwen7b.tools.tool_result import ToolResult
from qwen7b.tools.toolbox import Toolbox, finish
from qwen7b.tools.transcript import described

if TYPE_CHECKING:
    from qwen7b.generate.qwen import Qwen

Outcome = Literal["answered", "length", "steps", "seconds", "interrupted"]
"""The model answered by itself; a reply or the whole conversation had no room left; the replies that a run may take
were used up, or went round in a circle, so that the last had to answer; its time was used up; or the user interrupted
it (Ctrl-C)."""

_MAX_ALIKE = 3
"""The number of replies with the same calls after which the model is asked to answer."""
_NOT_RUN = {"interrupted": "the user interrupted", "seconds": "the time for this task is up"}


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentRun:
    """What came of a run.

    text      what the model said last, without the calls it made
    outcome   why the run ended: see `Outcome`
    messages  the whole conversation, in which every call has a result: with another message a run goes on from it
    replies   all replies of this run
    results   the results of all its calls
    seconds   how long it took
    """

    text: str
    outcome: Outcome
    messages: list[Message]
    replies: tuple[Reply, ...]
    results: tuple[ToolResult, ...]
    seconds: float

    @property
    def usage(self) -> Usage:
        """The tokens of all prompts and of all replies."""
        return Usage(
            prompt_tokens=sum(reply.usage.prompt_tokens for reply in self.replies),
            completion_tokens=sum(reply.usage.completion_tokens for reply in self.replies),
        )


Event = Piece | ToolResult | AgentRun
"""What a run gives out: pieces of replies, results of calls, and at the end what came of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLimits:
    """How far a run may go, and how its tools are treated: see `Agent`."""

    max_steps: int
    max_seconds: float | None
    tool_seconds: float | None
    max_result_characters: int


class RunLoop:
    """One run in the making.

    `approve` is asked before a call that changes something, `record` is given all that happens. Coroutines run in
    `loop`, which another thread runs, or without one in loops of their own.
    """

    def __init__(
        self,
        qwen: Qwen,
        toolbox: Toolbox,
        messages: list[Message],
        *,
        settings: dict[str, Any],
        limits: RunLimits,
        approve: Callable[[ToolCall], bool | Awaitable[bool]] | None,
        record: Callable[[dict[str, Any]], None],
        loop: AbstractEventLoop | None = None,
    ) -> None:
        self.qwen = qwen
        self.toolbox = toolbox
        self.messages = messages
        self.settings = settings
        self.limits = limits
        self.approve = approve
        self.record = record
        self.loop = loop
        self.replies: list[Reply] = []
        self.results: list[ToolResult] = []
        self.definitions: list[ToolDefinition] = toolbox.definitions
        self._pending: list[ToolCall] = []
        self._is_running_tool = False
        self._start = time.monotonic()

    def events(self) -> Generator[Event, None, None]:
        """Yield what happens, until the run ends; Ctrl-C ends it, and so does a KeyboardInterrupt that is thrown in."""
        self.record(
            {"model": self.qwen.name, "tools": [*map(described, self.definitions)], "messages": [*self.messages]}
        )
        outcome: Outcome
        try:
            outcome = yield from self._steps()
        except KeyboardInterrupt:
            outcome = "interrupted"
        yield from self._leave(outcome)

    def _steps(self) -> Generator[Event, None, Outcome]:
        for step in range(self.limits.max_steps):
            must_answer = 0 < step == self.limits.max_steps - 1 or self._goes_round
            try:
                reply = yield from self._reply(must_answer=must_answer)
            except PromptError:
                if not self.replies:
                    raise
                return "length"  # results have filled the context
            self.replies.append(reply)
            if reply.finish_reason != "tool_calls":
                outcome = self._take_in_last(reply)
                return "steps" if must_answer and outcome == "answered" else outcome
            self._add(reply.message, finish_reason=reply.finish_reason)
            self._pending = [*reply.tool_calls]
            while self._pending:
                if self._is_late:
                    return "seconds"
                result = self._run(self._pending[0])
                self._take_in(result)
                yield result
        return "steps"

    @property
    def _goes_round(self) -> bool:
        """Whether the last replies made the same calls and no others, as those of a small model may for ever."""
        last = [[(call.name, call.arguments) for call in reply.tool_calls] for reply in self.replies[-_MAX_ALIKE:]]
        return len(last) == _MAX_ALIKE and all(calls == last[0] for calls in last)

    def _reply(self, *, must_answer: bool) -> Generator[Event, None, Reply]:
        settings = {**self.settings}
        if self.replies:
            settings.pop("tool_choice", None)  # what it demands is done, and would never end
            with suppress(Exception):  # a server that is gone, say: the model is told when it calls
                self.definitions = self.toolbox.definitions
        settings["tools"] = self.definitions
        if must_answer:
            settings["tool_choice"] = "none"
        pieces = self.qwen.stream([*self.messages], **settings)
        is_ended = False
        for piece in pieces:
            interrupt: KeyboardInterrupt | None = None
            try:
                yield piece
            except KeyboardInterrupt as thrown_in:
                interrupt = thrown_in
            if piece.reply is None and not is_ended and (interrupt or self._is_late):
                is_ended = True
                yield (piece := pieces.throw(interrupt or KeyboardInterrupt()))
            if piece.reply is not None:
                return piece.reply
        raise AssertionError("a stream ends with a reply")

    def _take_in_last(self, reply: Reply) -> Outcome:
        """A reply without whole calls; one that was cut off keeps what it says."""
        if reply.text or reply.finish_reason == "stop":
            self._add({"role": "assistant", "content": reply.text}, finish_reason=reply.finish_reason)
        if reply.finish_reason == "interrupted":
            return "seconds" if self._is_late else "interrupted"
        return "length" if reply.finish_reason == "length" else "answered"

    def _run(self, call: ToolCall) -> ToolResult:
        try:
            refusal = "" if self._is_approved(call) else "the user does not allow this call"
        except Exception as error:
            refusal = f"nobody could be asked whether this call is allowed ({type(error).__name__}: {error})"
        if refusal:
            return ToolResult(call=call, text=f"Error: {refusal}", is_error=True)
        limits = (self.limits.tool_seconds, self._seconds_left)
        self._is_running_tool = True
        result = self.toolbox.run(
            call,
            seconds=min((limit for limit in limits if limit is not None), default=None),
            max_characters=self.limits.max_result_characters,
            loop=self.loop,
        )
        self._is_running_tool = False
        return result

    def _is_approved(self, call: ToolCall) -> bool:
        if self.approve is None:
            return True
        with suppress(Exception):  # a server that is gone, say, cannot tell, and its call will fail
            if self.toolbox.is_read_only(call.name):
                return True
        answer = self.approve(call)
        return bool(finish(answer, loop=self.loop) if inspect.isawaitable(answer) else answer)

    def _leave(self, outcome: Outcome) -> Generator[Event, None, None]:
        """Give calls that have none a result, so that the conversation can go on, and say what came of the run."""
        while self._pending:
            text = f"Error: not run, as {_NOT_RUN[outcome]}"
            if self._is_running_tool:
                text, self._is_running_tool = "Error: the user interrupted; the tool may still be running", False
            self._take_in(result := ToolResult(call=self._pending[0], text=text, is_error=True))
            yield result
        run = AgentRun(
            text=self.replies[-1].text if self.replies else "",
            outcome=outcome,
            messages=self.messages,
            replies=tuple(self.replies),
            results=tuple(self.results),
            seconds=time.monotonic() - self._start,
        )
        self.record({"outcome": outcome, "seconds": round(run.seconds, 3)})
        yield run

    def _take_in(self, result: ToolResult) -> None:
        del self._pending[0]
        self.results.append(result)
        arguments = result.call.arguments
        self._add(result.message, arguments=arguments, is_error=result.is_error, seconds=round(result.seconds, 3))

    def _add(self, message: Message, **about: object) -> None:
        self.messages.append(message)
        self.record({"message": message, **about})

    @property
    def _seconds_left(self) -> float | None:
        if self.limits.max_seconds is None:
            return None
        return max(self.limits.max_seconds - (time.monotonic() - self._start), 0.001)

    @property
    def _is_late(self) -> bool:
        return self.limits.max_seconds is not None and time.monotonic() - self._start >= self.limits.max_seconds
