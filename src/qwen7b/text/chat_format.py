"""How a model lays a conversation out as token ids: what every chat format can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qwen7b.text.messages import Message


class Encoder(Protocol):
    """What a chat format needs of a tokenizer."""

    control_tokens: dict[str, int]

    def encode(self, text: str) -> list[int]: ...


class ChatFormat(Protocol):
    """One way to lay conversations out. Content never becomes a control token."""

    @property
    def ends(self) -> frozenset[str]:
        """Names of the control tokens that close an assistant's message."""

    def encode(self, encoder: Encoder, messages: Sequence[Message], *, ask: bool = True) -> list[int]:
        """The ids of messages with a role and a string as content; with `ask`, up to where a reply begins."""

    def encode_open(self, encoder: Encoder, messages: Sequence[Message]) -> list[int]:
        """The ids of a conversation whose last message is still being written."""

    def write(self, messages: Sequence[Message], *, ask: bool = True) -> str:
        """The same as a text, in which control tokens are spelled."""

    def count_system_tokens(self, encoder: Encoder, system: Message | None) -> int:
        """How many tokens the system message takes, or the default one."""
