"""The interface of chat formats: each lays a conversation out as token ids in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qwen7b.text.messages import Message
from qwen7b.text.rendered import Encoder, Rendered


class ChatFormat(Protocol):
    """One way to lay conversations out. Content never becomes a control token."""

    @property
    def ends(self) -> frozenset[str]:
        """Names of the control tokens that close an assistant's message."""

    def render(
        self, encoder: Encoder, messages: Sequence[Message], *, ask: bool = False, open: bool = False
    ) -> Rendered:
        """The ids of messages with a role and a string as content, with a span for each.

        With `ask` they go on to where the assistant's next message begins; with `open`, which excludes it, they stop
        where the last message's content does, so that this can be continued.
        """
