"""Tools in a conversation at the terminal: calls and results are shown, asked about and kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from qwen7b.errors import PromptError
from qwen7b.generate import Piece
from qwen7b.terminal.chatting import converse
from qwen7b.terminal.commands import Commands, Services
from qwen7b.terminal.conversation import Conversation
from qwen7b.terminal.display import VisibleConsole
from qwen7b.terminal.kept_conversations import KeptConversation, read_latest
from qwen7b.terminal.terminal import ask, confirm, open_session
from qwen7b.terminal.tool_use import ToolUse, ask_first
from qwen7b.tools import Tool, Toolbox
from scripted import ScriptedQwen, call
from talking import CTRL_C, CTRL_D, ENTER, assistant, user

pytestmark = pytest.mark.usefixtures("english")

TOOLS = [
    Tool({"name": "add", "description": "Add two numbers.\nAny numbers."}, lambda a, b: a + b),
    Tool({"name": "now"}, lambda: "3 o'clock", read_only=True),
]


def talk(
    replies: list[Any], *keys: str, kept: KeptConversation | None = None, tools: list[Any] = TOOLS, yes: bool = False
) -> tuple[Conversation, str, ScriptedQwen]:
    """Type some keys into a conversation with tools; gives it back, what the screen showed, and what was asked."""
    console = VisibleConsole(file=io.StringIO(), width=200)
    qwen: Any = ScriptedQwen(replies)
    settings: Any = {"max_new_tokens": 9}
    conversation = Conversation(qwen, [], load=lambda: qwen, reply_settings=settings, console=console, kept=kept)
    with create_pipe_input() as pipe:
        pipe.send_text("".join(keys) + CTRL_D)
        session = open_session(history=InMemoryHistory(), input=pipe, output=DummyOutput())
        approve = None if yes else ask_first(partial(ask, session), conversation.note)
        conversation.tool_use = ToolUse(toolbox=Toolbox(tools), approve=approve, show=conversation.show)
        services = Services(find_model=pytest.fail, confirm=partial(confirm, session))
        converse(conversation, Commands(conversation, services), session)
    screen: Any = console.file
    return conversation, screen.getvalue(), qwen


ADDING = [["I add. ", call("add", a=17, b=25)], "It is 42."]


def test_all_of_a_call_is_shown_before_it_is_asked_about() -> None:
    long = {"a": "x" * 400 + "the end", "b": "y"}
    _, screen, _ = talk([[call("add", **long)], "Done."], "?", ENTER, "y", ENTER)
    assert screen.count("the end") >= 1 and screen.index("x …") < screen.index("the end")
    _, screen, _ = talk([[call("add", **long)], "Done."], "?", ENTER, yes=True)
    assert "→ add(" in screen and "xthe end" not in screen.partition("←")[0]


def test_a_call_and_its_result_are_shown_and_kept(tmp_path: Path) -> None:
    conversation, screen, qwen = talk(ADDING, "17+25?", ENTER, "y", ENTER, kept=KeptConversation(tmp_path))
    assert screen.index("I add.") < screen.index('→ add({"a": 17, "b": 25})') < screen.index("← 42")
    assert screen.index("← 42") < screen.index("It is 42.")
    assert " tokens of context" in screen and "tokens/s" not in screen  # text waits until it is told from calls
    messages = conversation.messages
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert qwen.asked[1][0] == messages[:3] and qwen.asked[0][1]["max_new_tokens"] == 9
    assert read_latest(tmp_path) == (messages, "scripted")
    conversation.show_last_exchange()
    assert conversation.console.file.getvalue().count("← 42") == 2  # type: ignore[attr-defined]


def test_a_call_that_is_not_allowed_is_told_to_the_model() -> None:
    _, screen, qwen = talk(ADDING, "17+25?", ENTER, "n", ENTER)
    assert "Not run." in screen and "← Error: the user does not allow this call" in screen
    assert qwen.asked[1][0][-1]["content"] == "Error: the user does not allow this call"


@pytest.mark.parametrize(("replies", "keys"), [(ADDING[:1] * 3 + ["."], ("a", ENTER)), ([call("now"), "."], ())])
def test_nobody_is_asked_twice_of_what_is_always_allowed_nor_of_what_only_reads(replies: Any, keys: Any) -> None:
    conversation, screen, qwen = talk(replies, "Go", ENTER, *keys)
    assert len(qwen.asked) == len(replies) and "Error" not in screen
    assert conversation.messages[-1] == assistant(".")


def test_nobody_is_asked_where_all_is_allowed() -> None:
    assert "← 42" in talk(ADDING, "Go", ENTER, yes=True)[1]


def test_ctrl_c_at_the_question_ends_the_run_and_the_conversation_goes_on() -> None:
    conversation, screen, qwen = talk([*ADDING[:1], "Fine."], "17+25?", ENTER, CTRL_C, "Never mind", ENTER)
    assert "← Error: not run, as the user interrupted" in screen and "context, interrupted" in screen
    assert conversation.messages[-2:] == [user("Never mind"), assistant("Fine.")]
    assert qwen.asked[1][0][2]["content"] == "Error: not run, as the user interrupted"


def test_ctrl_c_in_a_tool_ends_the_run_and_the_conversation_goes_on() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    tools = [Tool({"name": "wait"}, interrupted, read_only=True)]
    conversation, screen, _ = talk([call("wait"), "Fine."], "Go", ENTER, "Never mind", ENTER, tools=tools)
    assert "the tool may still be running" in screen and conversation.messages[-1] == assistant("Fine.")


def test_ctrl_c_before_the_first_reply_begins_is_told_as_without_tools() -> None:
    class InterruptedQwen(ScriptedQwen):
        def stream(self, messages: list[Any], **settings: Any) -> Iterator[Piece]:
            raise KeyboardInterrupt

    qwen: Any = InterruptedQwen([])
    with pytest.raises(KeyboardInterrupt):
        ToolUse(toolbox=Toolbox(TOOLS), approve=None, show=pytest.fail).answer(qwen, [user("Go")], {}, lambda: None)


def test_a_model_that_never_stops_calling_is_stopped_and_that_is_said() -> None:
    conversation, screen, qwen = talk([call("now")], "Go", ENTER)
    assert "made to answer after 10 replies" in screen and len(qwen.asked) == 10
    assert conversation.messages[-1]["role"] == "tool"


def test_a_reply_that_says_and_calls_nothing_takes_the_message_back() -> None:
    assert talk([[KeyboardInterrupt()]], "Go", ENTER)[0].messages == []


def test_results_that_fill_the_context_end_the_run() -> None:
    _, screen, _ = talk([call("now"), [PromptError("the prompt has 99999 tokens")]], "Go", ENTER)
    assert "cut off as the context is full" in screen


def test_a_long_result_is_shown_in_part_and_control_characters_are_visible() -> None:
    tools = [Tool({"name": "now"}, lambda: "\x1b[31m" + "x" * 900, read_only=True)]
    _, screen, qwen = talk([call("now"), "."], "Go", ENTER, tools=tools)
    assert "␛[31mxxx" in screen and "x" * 400 not in screen.replace("\n", "") and " …" in screen
    assert qwen.asked[1][0][-1]["content"] == "\x1b[31m" + "x" * 900


def test_tools_are_listed() -> None:
    screen = talk([], "/tools", ENTER)[1]
    assert "add  (asks first) Add two numbers.\nnow\n" in screen


def test_without_tools_it_says_how_to_have_some(talk: Callable[..., Any]) -> None:
    assert ToolUse(toolbox=Toolbox([]), approve=None, show=pytest.fail).listing() == ""
    assert "The model has no tools: start with --tools, --mcp or --allow-code." in talk("/tools", ENTER)[1]
