"""Files of conversations, as they are found after a bad day: read, or refused by name, and never lost in silence."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from qwen7b.errors import PromptError
from qwen7b.terminal.kept_conversations import KeptConversation, read_latest, read_messages
from talking import assistant, user

TALK = [user("Hi"), assistant("Hello")]
pytestmark = pytest.mark.usefixtures("english")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of one earlier conversation."""
    KeptConversation(tmp_path / "conversations").write(TALK, model="fake")
    [path] = (tmp_path / "conversations").iterdir()
    os.utime(path, (0, 0))
    return tmp_path / "conversations"


MESSAGE = json.dumps(TALK[0]).encode()
CONTENTS = {
    "nothing": b"",
    "torn": b'[{"role": "user", "content": "H',
    "no UTF-8": b'[{"role": "user", "content": "\xff"}]',
    "UTF-16": "[]".encode("utf-16"),
    "deep": b"[" * 10**6,
    "long": b"[" + b"[]," * (1 << 21) + b"[]]",
    "number": b"5",
    "long number": b"1" * 10_000,
    "null": b"null",
    "word": b"NaN",
    "other fields": b'{"model": "fake", "talk": []}',
    "messages of another type": b'{"messages": {"role": "user"}}',
    "message of another type": b"[5]",
    "role": b'[{"role": "root", "content": "Hi"}]',
    "role of another type": b'[{"role": ["user"], "content": "Hi"}]',
    "content of another type": b'[{"role": "user", "content": null}]',
    "later system": b"[" + MESSAGE + b', {"role": "system", "content": "Hi"}]',
    "zeros": bytes(100),
}
ODD: dict[str, Callable[[Path], Any]] = {name: lambda path, c=c: path.write_bytes(c) for name, c in CONTENTS.items()}  # type: ignore[misc]
ODD |= {
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to nowhere": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "huge": lambda path: (path.touch(), os.truncate(path, 1 << 40)),  # type: ignore[func-returns-value]
}
if hasattr(os, "mkfifo"):
    ODD["pipe"] = os.mkfifo


@pytest.mark.parametrize("kind", ODD)
def test_the_last_conversation_is_told_and_not_passed_over(folder: Path, kind: str) -> None:
    path = folder / "2999.json"
    ODD[kind](path)
    with pytest.raises(
        PromptError, match=r"the last conversation cannot be continued: .*remove it to continue"
    ) as told:
        read_latest(folder)
    assert str(path) in str(told.value) and len(str(told.value)) < 1000 and "\n" not in str(told.value)
    KeptConversation(folder).write(TALK, model="fake")
    assert os.path.lexists(path) and len(list(folder.iterdir())) == 3
    path.rmdir() if kind == "folder" else path.unlink()
    assert read_latest(folder) == (TALK, "fake")


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (b"\xef\xbb\xbf[" + MESSAGE + b"]\r\n", TALK[:1]),
        (b'{"model": 5, "more": 1, "messages": [' + MESSAGE + b"]}", TALK[:1]),
        (b'{"messages": [], "messages": [' + MESSAGE + b"]}", TALK[:1]),
        (b'[{"role": "user", "content": "\\ud83d"}]', [user("\ufffd")]),
        (b"[]", []),
    ],
)
def test_what_can_be_understood_is_read(folder: Path, content: bytes, messages: list[dict[str, str]]) -> None:
    path = folder / "2999.json"
    path.write_bytes(content)
    assert read_latest(folder)[0] == read_messages(path) == messages


def test_what_a_lost_process_left_unfinished_goes(folder: Path) -> None:
    given_up, fresh = folder / ".0123456789abcdef.part", folder / ".fedcba9876543210.part"
    for path in (given_up, fresh):
        path.write_text("{")
    os.utime(given_up, (time.time() - 7200,) * 2)
    KeptConversation(folder).write(TALK, model="fake")
    assert fresh.exists() and not given_up.exists()


def test_processes_that_keep_conversations_at_the_same_time(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
import qwen7b.terminal.kept_conversations as kept
kept.MAX_KEPT = 5
for number in range(40):
    kept.KeptConversation(Path(sys.argv[1])).write([{"role": "user", "content": sys.argv[2]}] * number, model="fake")
    messages, model = kept.read_latest(Path(sys.argv[1]))
    assert model == "fake" and len({message["content"] for message in messages}) < 2
"""

    def keep(writer: int) -> str:
        return run([sys.executable, "-c", program, str(tmp_path), str(writer)], capture_output=True, text=True).stderr

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(keep, range(3))) == [""] * 3
    assert 5 <= len(list(tmp_path.iterdir())) <= 8
