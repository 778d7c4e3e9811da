"""What the adapters of agent frameworks have in common: settings under their names there, and replies that are whole.

A framework goes on with whatever a model returns, so a reply that Ctrl-C ended, or that took too long, is not returned.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from qwen7b.errors import SettingError
from qwen7b.generate import Piece, Reply
from qwen7b.text import Message

if TYPE_CHECKING:
    from qwen7b.generate import Qwen

_EMPTY = Piece(text="")
_OTHER_NAMES = {"max_tokens": "max_new_tokens", "stop_sequences": "stop"}


def chat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as `Qwen.chat` takes them: by the names that they have here, and without those that are None.

    Raises SettingError where one is given under two names.
    """
    known: dict[str, Any] = {}
    for name, value in settings.items():
        own = _OTHER_NAMES.get(name, name)
        if value is None:
            continue
        if own in known:
            raise SettingError(f"{own} is given twice, under another name too: give it once")
        known[own] = value
    return known


def stream_pieces(
    qwen: Qwen, messages: Iterable[Message], settings: Mapping[str, Any], *, seconds: float | None = None
) -> Generator[Piece, None, None]:
    """Like `Qwen.stream`, but Ctrl-C raises KeyboardInterrupt, and a reply that takes longer raises TimeoutError.

    Pieces in which there is nothing are left out.
    """
    deadline = _deadline(seconds)
    with closing(qwen.stream([*messages], **chat_settings(settings))) as pieces:
        for piece in pieces:
            _check_going_on(piece, deadline)
            if piece != _EMPTY:
                yield piece


async def astream_pieces(
    qwen: Qwen, messages: Iterable[Message], settings: Mapping[str, Any], *, seconds: float | None = None
) -> AsyncGenerator[Piece, None]:
    """Like `stream_pieces`, in an event loop."""
    deadline = _deadline(seconds)
    async with aclosing(qwen.astream([*messages], **chat_settings(settings))) as pieces:
        async for piece in pieces:
            _check_going_on(piece, deadline)
            if piece != _EMPTY:
                yield piece


def whole_reply(
    qwen: Qwen, messages: Iterable[Message], settings: Mapping[str, Any], *, seconds: float | None = None
) -> Reply:
    """Like `Qwen.chat`, with the exceptions of `stream_pieces`."""
    *_, last = stream_pieces(qwen, messages, settings, seconds=seconds)
    assert last.reply is not None
    return last.reply


def _deadline(seconds: float | None) -> float:
    return math.inf if seconds is None else time.monotonic() + seconds


def _check_going_on(piece: Piece, deadline: float) -> None:
    if piece.reply is not None and piece.reply.finish_reason == "interrupted":
        raise KeyboardInterrupt
    if piece.reply is None and time.monotonic() > deadline:
        raise TimeoutError("the reply was not done within the timeout, and was ended")
