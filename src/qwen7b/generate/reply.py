"""The results of a generation: replies, their pieces and their logprobs; and those of scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qwen7b.sampling.token_logprob import TokenLogprob

if TYPE_CHECKING:
    from qwen7b.dialects import CallDelta
    from qwen7b.text.messages import Message, ToolCall

FinishReason = Literal["stop", "tool_calls", "length", "interrupted"]
"""The reply was ended by the model or a stop string, and then made calls ("tool_calls") or none; by max_new_tokens or
the context; or by the user (Ctrl-C)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    """The number of tokens that the model made, the stop token included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How likely a continuation is under the model, before sampling settings act."""

    logprob: float
    """The natural log of its probability given the context: the sum of `token_logprobs`."""
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    """The log-probability of each of `token_ids` given all before it."""
    is_greedy: bool
    """Whether each token is the likeliest in its place, so that greedy decoding would make just these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    text: str
    """What the reply says, without the calls it makes."""
    token_ids: list[int]
    """The ids that the model made, those of calls included, without the stop token."""
    finish_reason: FinishReason
    usage: Usage
    logprobs: list[TokenLogprob] | None = None
    """The log-probabilities of `token_ids`, one each, where they were asked for."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls that it makes. They are whole where `finish_reason` is "tool_calls"; a reply that was cut off may have
    been cut within the last."""

    @property
    def message(self) -> Message:
        """The reply as a message of the conversation, in OpenAI's form, after which the calls' results come.

        >>> messages += [reply.message, {"role": "tool", "tool_call_id": call.id, "content": "21"}]  # doctest: +SKIP
        """
        message: dict[str, object] = {"role": "assistant", "content": self.text}
        if self.tool_calls:
            message["tool_calls"] = [*map(call_object, self.tool_calls)]
        return message


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A stretch of a reply in the making; the pieces' texts joined are the reply's text.

    With tools one is empty where what a token adds waits to be told from calls.
    """

    text: str
    call: CallDelta | None = None
    """A stretch of a call, where the piece is that: its id and name come with the first, the arguments are joined."""
    reply: Reply | None = None
    """The whole reply, on the last piece only."""


def call_object(call: ToolCall) -> dict[str, object]:
    """A call in OpenAI's form."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
