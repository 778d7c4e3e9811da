"""A stand-in for a loaded model, and the command line run in this process."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from typer.testing import CliRunner, Result

import qwen7b
from qwen7b.checkpoint import GenerationSettings
from qwen7b.cli.app import app
from qwen7b.generate import Piece, Reply, Usage
from qwen7b.terminal.chatting import converse
from qwen7b.terminal.commands import Commands, Services
from qwen7b.terminal.conversation import Conversation
from qwen7b.terminal.display import VisibleConsole
from qwen7b.terminal.kept_conversations import KeptConversation
from qwen7b.terminal.terminal import confirm, open_session
from talking import CTRL_D, Talk


@dataclass
class FakeQwen:
    """Says its pieces whatever it is asked; an exception among them is raised where it stands."""

    pieces: Sequence[str | BaseException] = ("Hello", " there.")
    finish_reason: str = "stop"
    name: str = "fake"
    speculate: str | None = None
    context_length: int = 32768
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    num_prompt_tokens: int = 7
    """What a conversation takes with all of its past."""
    reads: Sequence[tuple[int, int]] = ()
    """What it reports while it reads a prompt."""
    asked: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    loaded: dict[str, Any] = field(default_factory=dict)

    source: str = "fake"

    def stream(self, messages: Any, **asking: Any) -> Iterator[Piece]:
        on_prompt = asking.pop("on_prompt", None)
        self.asked.append((messages, asking))
        for read in self.reads:
            on_prompt(*read)
        return self._say()

    stream_completion = stream

    def count_prompt_tokens(self, messages: Any) -> int:
        return self.num_prompt_tokens

    def _say(self) -> Iterator[Piece]:
        said: list[str] = []
        finish_reason = self.finish_reason
        try:
            for piece in self.pieces:
                if isinstance(piece, BaseException):
                    raise piece
                said.append(piece)
                yield Piece(text=piece)
        except KeyboardInterrupt:
            finish_reason = "interrupted"
        yield Piece(
            text="",
            reply=Reply(
                text="".join(said),
                token_ids=list(range(len(said))),
                finish_reason=finish_reason,
                usage=Usage(prompt_tokens=7, completion_tokens=len(said)),
            ),
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeQwen:
    """What qwen7b.load returns during the test."""
    fake = FakeQwen()

    def load(model: str, **settings: Any) -> FakeQwen:
        fake.loaded = {"model": model, **settings}
        return fake

    monkeypatch.setattr(qwen7b, "load", load)
    return fake


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run the command with some arguments and, by `input`, something on standard input."""

    def run(*arguments: str, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, arguments, input=input)

    return run


@pytest.fixture
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def talk(fake) -> Talk:
    """Type some keys into a new conversation; gives it back with what the screen showed."""

    def talk(
        *keys: str,
        messages: list[dict[str, str]] | None = None,
        kept: KeptConversation | None = None,
        find_model: Callable = lambda name: pytest.fail(f"{name} is looked up"),
    ) -> tuple[Conversation, str]:
        console = VisibleConsole(file=io.StringIO(), width=200)
        conversation = Conversation(
            fake, messages or [], load=lambda: fake, reply_settings={"max_new_tokens": 9}, console=console, kept=kept
        )
        with create_pipe_input() as pipe:
            pipe.send_text("".join(keys) + CTRL_D)
            session = open_session(history=InMemoryHistory(), input=pipe, output=DummyOutput())
            services = Services(find_model=find_model, confirm=partial(confirm, session))
            converse(conversation, Commands(conversation, services), session)
        screen: Any = console.file
        return conversation, screen.getvalue()

    return talk
