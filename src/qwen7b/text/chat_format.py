"""The interface of chat formats: each lays a conversation out as token ids in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qwen7b.text.messages import Message
from qwen7b.text.rendered import Encoder, Rendered


class ChatFormat(Protocol):
    """One way to lay out conversations. A message's content never becomes a control token."""

    @property
    def ends(self) -> frozenset[str]:
        """Names of the control tokens that close an assistant's message."""

    def render(
        self,
        encoder: Encoder,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
    ) -> Rendered:
        """Lay out messages as token ids, with a span for each. A content is a `Content`, mostly a string.

        With `add_generation_prompt` the ids go on to where the assistant's next message begins. With
        `continue_final_message`, which excludes it, they end with the last message's content, so that the model goes
        on writing it.
        """
