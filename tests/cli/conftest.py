"""A stand-in for a loaded model, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import qwen7b
from qwen7b.cli.app import app
from qwen7b.generate import Piece, Reply, Usage


@dataclass
class FakeQwen:
    """Says its pieces whatever it is asked; an exception among them is raised where it stands."""

    pieces: Sequence[str | BaseException] = ("Hello", " there.")
    finish_reason: str = "stop"
    name: str = "fake"
    default_sampling: Any = None
    asked: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    loaded: dict[str, Any] = field(default_factory=dict)

    def stream(self, messages: Any, **asking: Any) -> Iterator[Piece]:
        self.asked.append((messages, asking))
        return self._say()

    stream_completion = stream

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
