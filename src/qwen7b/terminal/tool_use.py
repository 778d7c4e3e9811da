"""Calls of tools in a conversation at the terminal: shown, asked about, and followed until the model has an answer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import typer

from qwen7b.generate.reply import Piece, Reply
from qwen7b.terminal.language import translated as _
from qwen7b.terminal.replies import TimedReply, follow
from qwen7b.terminal.streams import print_json
from qwen7b.text.messages import Message, ToolCall
from qwen7b.tools.agent import Agent
from qwen7b.tools.agent_run import AgentRun, Event
from qwen7b.tools.tool_result import ToolResult

if TYPE_CHECKING:
    from qwen7b.generate.call_settings import ChatSettings
    from qwen7b.generate.qwen import Qwen
    from qwen7b.terminal.kept_conversations import Messages
    from qwen7b.terminal.plain import Display
    from qwen7b.tools.toolbox import Toolbox

MAX_SHOWN = 300
"""The characters that are shown of a call or a result; the model sees all, and so does who is asked to allow it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolUse:
    """The tools that a model may use, and how the user takes part in it.

    toolbox  the tools
    approve  asks whether a call may be run that is not marked as read-only; None where all may
    show     shows a line about a call or its result
    """

    toolbox: Toolbox
    approve: Callable[[ToolCall], bool] | None
    show: Callable[[str], None]

    def listing(self) -> str:
        """A line for each tool: its name, whether one is asked before it is run, and what it is for."""
        definitions = self.toolbox.definitions
        width = max((len(definition.name) for definition in definitions), default=0)
        rows = []
        for definition in definitions:
            is_free = self.approve is None or self.toolbox.is_read_only(definition.name)
            mark = "" if is_free else _("(asks first)") + " "
            purpose = definition.description.strip().partition("\n")[0]
            rows.append(f"{definition.name:<{width}}  {mark}{purpose}".rstrip())
        return "\n".join(rows)

    def answer(
        self,
        qwen: Qwen,
        messages: Sequence[Message],
        settings: ChatSettings,
        new_display: Callable[[], Display | None],
    ) -> tuple[TimedReply, AgentRun]:
        """Have a conversation answered, and show how; the figures are those of the last reply."""
        others: dict[str, Any] = {**settings}
        agent = Agent(qwen, [self.toolbox], approve=self.approve, **others)
        return follow_run(agent.stream([*messages]), new_display, self.show)

    @staticmethod
    def outcome_note(run: AgentRun) -> str:
        """What is to be said of the end of a run, where its last reply does not say it."""
        if run.outcome == "steps":
            return _("made to answer after {count} replies").format(count=len(run.replies))
        if run.replies[-1].finish_reason == "tool_calls" and run.outcome != "answered":
            return {"interrupted": _("interrupted"), "length": _("cut off as the context is full")}[run.outcome]
        return ""


def ask_first(ask: Callable[[str], str], show: Callable[[str], None]) -> Callable[[ToolCall], bool]:
    """The approval of calls by a user, who may also allow all further ones of a tool."""
    always: set[str] = set()

    def approve(call: ToolCall) -> bool:
        if call.name in always:
            return True
        if shortened(call.arguments) != call.arguments.strip():  # the line of the call does not show all
            show(call.arguments.strip())
        answer = ask(_("Run {name}? (y/n, a: always)").format(name=call.name)).strip().lower()
        if answer in ("a", "always", "总是"):
            always.add(call.name)
        is_allowed = answer in ("y", "yes", "是", "好") or call.name in always
        if not is_allowed:
            show(_("Not run."))
        return is_allowed

    return approve


def follow_run(
    events: Generator[Event, None, None], new_display: Callable[[], Display | None], show: Callable[[str], None]
) -> tuple[TimedReply, AgentRun]:
    """Show the replies, calls and results of a run; the figures are those of its last reply."""
    timed: TimedReply | None = None
    while True:
        ended: list[AgentRun] = []
        last = None if timed is None else timed.reply
        followed = follow(_one_reply(events, ended, last), new_display())
        if ended:
            assert timed is not None
            return timed, ended[0]
        timed = replace(followed, is_held_back=True)
        calls = timed.reply.tool_calls if timed.reply.finish_reason == "tool_calls" else ()
        for call in calls:
            show(f"→ {call.name}({shortened(call.arguments)})")
        for _number in range(len(calls) or 1):
            event = _next(events, show)
            if isinstance(event, AgentRun):
                return timed, event


def _next(events: Generator[Event, None, None], show: Callable[[str], None]) -> Event:
    """The next event, shown if it is a result; an interrupt meanwhile ends the run."""
    event = next(events)
    try:
        if isinstance(event, ToolResult):
            show(f"← {shortened(event.text)}")
    except KeyboardInterrupt as interrupt:
        return events.throw(interrupt)
    return event


def _one_reply(
    events: Generator[Event, None, None], ended: list[AgentRun], last: Reply | None
) -> Generator[Piece, None, None]:
    """The pieces of the next reply; an interrupt that is thrown in goes to the run.

    Where the run ends instead, what came of it is put into `ended`, and the last reply ends the pieces. Raises
    KeyboardInterrupt where there is none, as Ctrl-C came before the first began.
    """
    event = next(events)
    while isinstance(event, Piece):
        try:
            yield event
        except KeyboardInterrupt as interrupt:
            event = events.throw(interrupt)
        else:
            event = next(events)
    assert isinstance(event, AgentRun)
    if last is None:
        raise KeyboardInterrupt
    ended.append(event)
    yield Piece(text="", reply=last)


def show_run(
    tool_use: ToolUse,
    qwen: Qwen,
    messages: Messages,
    settings: ChatSettings,
    new_display: Callable[[], Display] | None,
    *,
    model: str,
) -> Messages:
    """Show a run or, without displays, print it as a JSON document; exit with code 130 if it was interrupted."""
    timed, run = tool_use.answer(qwen, messages, settings, new_display or (lambda: None))
    if new_display is None:
        print_json(timed.document(model=model, outcome=run.outcome, messages=run.messages))
    elif note := tool_use.outcome_note(run):
        tool_use.show(note)
    if run.outcome == "interrupted":
        raise typer.Exit(130)
    return [dict(message) for message in run.messages]


def show_message(message: Mapping[str, Any], show: Callable[[str], None]) -> None:
    """Show the calls or the result in a message of an earlier run."""
    for call in message.get("tool_calls") or ():
        show(f"→ {call['function']['name']}({shortened(call['function']['arguments'])})")
    if message["role"] == "tool":
        show(f"← {shortened(message['content'])}")


def shortened(text: str) -> str:
    """A text in few lines."""
    text = text.strip()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} …"
