"""What is typed in a conversation, and what its messages are, in as few words as tests need."""

from __future__ import annotations

from collections.abc import Callable

from qwen7b.terminal.conversation import Conversation

ENTER, ALT_ENTER, CTRL_C, CTRL_D = "\r", "\x1b\r", "\x03", "\x04"
Talk = Callable[..., tuple[Conversation, str]]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}
