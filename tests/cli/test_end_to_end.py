"""The command with a real model, tiny and random: from arguments and keystrokes to the screen."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from qwen7b.terminal.kept_conversations import KeptConversation, read_latest

Run = Callable[..., Result]
# Once a key can be read the terminal has shown it, if it shows any.
UNTIL_TYPED = "assert select.select([sys.stdin], [], [], 300)[0]"


def test_one_reply(run: Run, tiny_chat_checkpoint: Path) -> None:
    result = run(
        "chat", "the inner hello 你", "--model", str(tiny_chat_checkpoint), "--quantize", "none", "--greedy", "--json"
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["finish_reason"] in ("stop", "length")
    assert 0 < document["usage"]["completion_tokens"] <= 24 and document["usage"]["prompt_tokens"] > 10
    shown = run(
        "chat", "the inner hello 你", "--model", str(tiny_chat_checkpoint), "--quantize", "none", "--greedy"
    ).stdout
    assert shown.removesuffix("\n") == document["text"].removesuffix("\n")


def test_a_prompt_that_is_kept_is_answered_alike(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    model = ("-m", str(tiny_chat_checkpoint), "--quantize", "none", "--json")
    folder = tmp_path / "new" / "prompts"
    for verb in (("chat", "hello", "--system", "1" * 80, "--no-autosave"), ("complete", "1" * 80)):
        plain = run(*verb, *model)
        first, second = (run(*verb, *model, "--prompt-cache", str(folder)) for _ in range(2))
        for result in (first, second):
            assert result.exit_code == 0, result.output
            assert json.loads(result.stdout)["text"] == json.loads(plain.stdout)["text"]
    assert len(list(folder.iterdir())) >= 4
    refused = run("complete", "hello", *model, "--prompt-cache", str(next(folder.iterdir())))
    assert refused.exit_code == 1 and refused.stderr.startswith("error: ") and "prompt_cache" in refused.stderr


def test_a_seed_repeats_a_completion(run: Run, tiny_chat_checkpoint: Path) -> None:
    model = ("-m", str(tiny_chat_checkpoint), "--quantize", "none")
    arguments = ("complete", "hello", *model, "--seed", "7", "--max-new-tokens", "9", "--json")
    first, second = (json.loads(run(*arguments).stdout) for _ in range(2))
    assert first["token_ids"] == second["token_ids"] and len(first["token_ids"]) > 0


def test_a_prompt_too_long_is_one_line(run: Run, tiny_chat_checkpoint: Path) -> None:
    result = run("complete", "1" * 600, "-m", str(tiny_chat_checkpoint), "--quantize", "none")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and "600" in result.stderr and "512" in result.stderr


def test_a_conversation_at_a_terminal(tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix only")
    keyboard, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "QWEN7B_CACHE": str(tmp_path)}
    environment["LC_ALL"] = "C.UTF-8"
    command = [sys.executable, "-m", "qwen7b", "chat", "--model", str(tiny_chat_checkpoint), "--greedy"]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    screen = b""

    def wait_for(text: bytes) -> None:
        nonlocal screen
        deadline = time.monotonic() + 300
        while text not in screen:
            assert select.select([keyboard], [], [], deadline - time.monotonic())[0], screen
            screen += os.read(keyboard, 4096)
        screen = screen.partition(text)[2]

    try:
        wait_for(b"/help")
        wait_for(b">")
        os.write(keyboard, b"hello\r")
        wait_for(b"tokens of context")
        wait_for(b">")
        os.write(keyboard, f"/save {tmp_path / 'talk.json'}\r".encode())
        wait_for(b"2 messages saved")
        wait_for(b">")
        os.write(keyboard, b"\x04")
        assert process.wait(timeout=300) == 0
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)
    messages = json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert "hello" in (tmp_path / "chat_history").read_text(encoding="utf-8")
    (kept,) = (tmp_path / "conversations").iterdir()
    assert json.loads(kept.read_text(encoding="utf-8"))["messages"] == messages


def test_a_conversation_goes_on(run: Run, tiny_chat_checkpoint: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path))
    assert "no earlier conversation is kept" in run("chat", "hello", "--continue").stderr
    earlier = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "the"}]
    KeptConversation(tmp_path / "conversations").write(earlier, model=str(tiny_chat_checkpoint))
    result = run("chat", "inner", "-c", "--greedy", "--max-new-tokens", "5", "--json")
    document = json.loads(result.stdout)
    assert document["model"] == str(tiny_chat_checkpoint)
    assert document["messages"] == [*earlier, {"role": "user", "content": "inner"}]
    if document["text"]:
        assert read_latest(tmp_path / "conversations")[0][-1]["content"] == document["text"]
    assert "unknown model" in run("chat", "inner", "--continue", "--model", "dmeo").stderr


def test_what_is_typed_while_a_reply_comes_is_not_shown_before_the_next_line(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix only")
    keyboard, terminal = pty.openpty()
    program = (
        "import select, sys\nfrom qwen7b.terminal.keyboard import quiet_keyboard\n"
        f"with quiet_keyboard():\n    print('reply', flush=True)\n    {UNTIL_TYPED}\n"
        "print('end', flush=True); print('typed:', sys.stdin.readline(), flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    try:
        screen = b""
        while b"typed:" not in screen or not screen.endswith(b"next\r\n\r\n"):
            assert select.select([keyboard], [], [], 300)[0], screen
            screen += os.read(keyboard, 4096)
            if screen == b"reply\r\n":
                os.write(keyboard, b"next\n")
        assert b"next" not in screen.partition(b"end")[0] and process.wait(timeout=300) == 0
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)


def test_enter_while_a_single_reply_comes_leaves_no_line() -> None:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix only")
    keyboard, terminal = pty.openpty()
    program = (
        "import select, sys\nfrom qwen7b.terminal.display import MarkdownDisplay, chat_console\n"
        f"display = MarkdownDisplay(chat_console())\ndisplay.open()\n{UNTIL_TYPED}\n"
        "display.push('Hello')\ndisplay.close()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(terminal)
    screen = b""
    try:
        while select.select([keyboard], [], [], 300)[0]:
            part = os.read(keyboard, 4096)
            if not screen:
                os.write(keyboard, b"\n\n")
            screen += part
            if not part:
                break
    except OSError:  # the end, on Linux
        pass
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)
    drawn = re.sub(rb"\x1b\[[?0-9]*[a-zA-Z]", b"", screen).replace(b"\r", b"")
    assert drawn == "…\nHello\nHello\n".encode()  # each drawn over the one before
