"""Settings under other names, and replies that a framework must not take for whole ones."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from qwen7b.errors import SettingError
from qwen7b.tools.framework_calls import astream_pieces, chat_settings, stream_pieces, whole_reply
from scripted import ScriptedQwen
from talking import user


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes each time that the clock is looked at."""
    seconds = itertools.count()
    monkeypatch.setattr("qwen7b.tools.framework_calls.time.monotonic", lambda: next(seconds))


def test_settings_have_one_name_and_a_value() -> None:
    assert chat_settings({"max_tokens": 3, "top_p": None, "stop_sequences": ["a"]}) == {
        "max_new_tokens": 3,
        "stop": ["a"],
    }
    with pytest.raises(SettingError, match="max_new_tokens is given twice"):
        chat_settings({"max_tokens": 3, "max_new_tokens": 3})


def test_a_reply_comes_in_pieces_or_whole() -> None:
    qwen: Any = ScriptedQwen([["in ", "there"]])
    assert [piece.text for piece in stream_pieces(qwen, [user("hi")], {"max_tokens": 9})] == ["in ", "there", ""]
    assert whole_reply(qwen, [user("hi")], {}).text == "in there"
    assert qwen.asked[0] == ([user("hi")], {"max_new_tokens": 9})


@pytest.mark.parametrize(
    ("qwen", "seconds", "error"),
    [
        (ScriptedQwen([["in ", KeyboardInterrupt()]]), None, KeyboardInterrupt),
        (ScriptedQwen([["a"] * 9]), 3, TimeoutError),
    ],
    ids=["Ctrl-C", "timeout"],
)
def test_a_reply_that_is_not_whole_raises(qwen: Any, seconds: float | None, error: type[BaseException]) -> None:
    with pytest.raises(error):
        whole_reply(qwen, [user("hi")], {}, seconds=seconds)

    async def ask() -> None:
        async for _ in astream_pieces(qwen, [user("hi")], {}, seconds=seconds):
            pass

    with pytest.raises(error):
        asyncio.run(ask())


def test_a_reply_that_is_whole_is_not_too_late() -> None:
    qwen: Any = ScriptedQwen([["a"] * 3])
    assert whole_reply(qwen, [user("hi")], {}, seconds=3).text == "aaa"
