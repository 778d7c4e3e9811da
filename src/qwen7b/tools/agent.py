"""An agent: a model that is given tools and goes on by itself until it has an answer."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import TYPE_CHECKING, Any

from qwen7b.config.checked import positive_number, whole_number
from qwen7b.errors import SettingError, quoted
from qwen7b.system.in_thread import follow_in_thread
from qwen7b.text.messages import Message, ToolCall
from qwen7b.tools.agent_run import AgentRun, Event, RunLimits, RunLoop
from qwen7b.tools.toolbox import MAX_RESULT_CHARACTERS, TOOL_SECONDS, Toolbox
from qwen7b.tools.transcript import Transcript

if TYPE_CHECKING:
    from qwen7b.generate.prompt_ids import ChatInput
    from qwen7b.generate.qwen import Qwen

MAX_STEPS = 10
_FEWEST_CHARACTERS = 200
"""The lowest limit of a result, so that what is cut can say so."""


class Agent:
    """A model with tools. It holds no conversation: each run is given its own, and gives it back.

        def add(a: int, b: int) -> int:
            '''Add two numbers.'''
            return a + b

        agent = qwen7b.Agent(qwen, tools=[add])
        run = agent.run("What is 17 + 25?")
        run.text, run.outcome
        run = agent.run([*run.messages, {"role": "user", "content": "And 3 more?"}])

    tools                  functions, `qwen7b.tools.Tool`s, MCP servers and other sources of tools
    system                 the system message of conversations that have none
    max_steps              the replies of a run at most: for the last the model is shown no tools, so that it answers;
                           so too after three replies in a row with the same calls
    max_seconds            how long a run may take; a reply that is being written then is cut off. None: any time
    tool_seconds           how long a call may take, then the model is told and goes on. A coroutine is cancelled; a
                           function cannot be stopped, and its thread runs on. None: any time, in the calling thread
    max_result_characters  of a call's result; a longer one loses its middle, and says so
    approve                a function, a coroutine's too, that is asked before a call of a tool that is not marked as
                           read-only; the model is told of a refusal. Without one all calls are run
    transcript             a file to which all that happens is added as JSON lines: see `read_transcript`, `Replay`
    settings               those of `Qwen.chat`. A tool_choice is for a run's first reply only

    What a tool raises is told to the model as text, and the model goes on.
    """

    def __init__(
        self,
        qwen: Qwen,
        tools: Sequence[object] = (),
        *,
        system: str | None = None,
        max_steps: int = MAX_STEPS,
        max_seconds: float | None = None,
        tool_seconds: float | None = TOOL_SECONDS,
        max_result_characters: int = MAX_RESULT_CHARACTERS,
        approve: Callable[[ToolCall], bool | Awaitable[bool]] | None = None,
        transcript: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        whole_number("max_steps", max_steps, minimum=1)
        whole_number("max_result_characters", max_result_characters, minimum=_FEWEST_CHARACTERS)
        for name, seconds in (("max_seconds", max_seconds), ("tool_seconds", tool_seconds)):
            if seconds is not None:
                positive_number(name, seconds)
        if approve is not None and not callable(approve):
            raise SettingError(f"approve must be a function of a call, found {quoted(approve)}")
        self.qwen = qwen
        self.toolbox = Toolbox(tools)
        self.system = system
        self.limits = RunLimits(
            max_steps=max_steps,
            max_seconds=max_seconds,
            tool_seconds=tool_seconds,
            max_result_characters=max_result_characters,
        )
        self.approve = approve
        self.transcript = None if transcript is None else os.fspath(transcript)
        self.settings = settings
        self._check_settings()

    def run(self, messages: ChatInput) -> AgentRun:
        """Answer a question, or a conversation that ends with one. Ctrl-C ends the run and keeps its conversation.

        Raises what `Qwen.chat` raises for the first reply; a later prompt that has no room ends the run.
        """
        run = deque(self.stream(messages), maxlen=1)[0]
        assert isinstance(run, AgentRun)
        return run

    def stream(self, messages: ChatInput) -> Generator[Event, None, None]:
        """Like `run`, as it happens: pieces of replies, results of calls, and at last the `AgentRun`."""
        return self._events(messages, None)

    async def arun(self, messages: ChatInput) -> AgentRun:
        """Like `run`, for an event loop, which it does not block: see `astream`."""
        async with aclosing(self.astream(messages)) as events:
            async for event in events:
                last = event
        assert isinstance(last, AgentRun)
        return last

    def astream(self, messages: ChatInput) -> AsyncGenerator[Event, None]:
        """Like `stream`, in an event loop. Many runs at once share the model, as calls of `Qwen.achat` do.

        Tools and `approve` are called in a thread of the run; those that are coroutines run in this loop. A task that
        is cancelled, or a closed generator, ends the run at the next token, or once the tool that is running is done
        or has had its time; nothing is asked or run after that.
        """
        return follow_in_thread(self._events(messages, asyncio.get_running_loop()))

    def _events(self, messages: ChatInput, loop: asyncio.AbstractEventLoop | None) -> Generator[Event, None, None]:
        with self._recording() as recorded:
            yield from RunLoop(
                self.qwen,
                self.toolbox,
                self._begin(messages),
                settings=self.settings,
                limits=self.limits,
                approve=self.approve,
                record=recorded,
                loop=loop,
            ).events()

    def _check_settings(self) -> None:
        """Raise SettingError for what the first reply would refuse."""
        from qwen7b.generate.call_settings import CheckedSettings

        settings: Any = {**self.settings, "tools": self.toolbox.definitions}
        CheckedSettings(self.qwen.generation, settings, call="chat")

    def _begin(self, messages: ChatInput) -> list[Message]:
        begun: list[Message] = [{"role": "user", "content": messages}] if isinstance(messages, str) else [*messages]
        if self.system is not None and not (begun and begun[0].get("role") == "system"):
            begun.insert(0, {"role": "system", "content": self.system})
        return begun

    def _recording(self) -> AbstractContextManager[Callable[[dict[str, Any]], None]]:
        return nullcontext(lambda line: None) if self.transcript is None else Transcript(self.transcript).recording()
