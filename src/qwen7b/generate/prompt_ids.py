"""What a call is asked, as token ids: a conversation, with tools or without, or a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Required, TypedDict, Unpack

from qwen7b.dialects import Dialect, ToolDefinition
from qwen7b.errors import PromptError, counted
from qwen7b.generate.continuations import Text, checked_ids
from qwen7b.text import Message, Tokenizer
from qwen7b.text.chat_prompt import as_they_are, fitting_prompt
from qwen7b.text.completion_prompt import completion_prompt
from qwen7b.text.messages import ReadConversation, split_turns

if TYPE_CHECKING:
    from qwen7b.generate.call_settings import CheckedSettings

ChatInput = str | Sequence[Message]
"""What a chat answers: a question, or messages that end with one, with results of tools, or with the beginning of the
answer."""


@dataclass(frozen=True, slots=True)
class PromptIds:
    """A prompt, and what that means for the reply.

    in_dialect    whether a dialect wrote it, which then reads the reply
    ends_in_mark  whether it ends behind a tool's result, as with "Answer:", so that the reply begins with a space
    """

    ids: list[int]
    in_dialect: bool = False
    ends_in_mark: bool = False


class PromptLimits(TypedDict, total=False):
    """The limits of `qwen7b.chat_prompt`, of which all but the first may be left out."""

    history_token_limit: Required[int]
    context_length: int | None
    reply_tokens: int


def chat_ids(
    messages: ChatInput, tokenizer: Tokenizer, settings: CheckedSettings, *, dialect: Dialect, context_length: int
) -> PromptIds:
    """The prompt for a conversation. Raises PromptError where there is nothing to answer."""
    conversation = split_turns([{"role": "user", "content": messages}] if isinstance(messages, str) else messages)
    if not conversation.turns[-1][0]["content"].strip():
        raise PromptError("the question is empty: say something in the last message")
    limits: PromptLimits = {
        "history_token_limit": settings.history_token_limit,
        "context_length": context_length,
        # History makes room for the reply, but a generous limit must not drive all of it out.
        "reply_tokens": min(settings.max_new_tokens, context_length // 4),
    }
    return conversation_ids(conversation, tokenizer, tools=settings.offered.definitions, dialect=dialect, **limits)


def conversation_ids(
    conversation: ReadConversation,
    tokenizer: Tokenizer,
    *,
    tools: Sequence[ToolDefinition],
    dialect: Dialect,
    **limits: Unpack[PromptLimits],
) -> PromptIds:
    """The prompt for a conversation, in which a dialect has a part where tools are offered or were called."""
    in_dialect = bool(tools) or conversation.has_calls
    write = dialect.write if in_dialect else as_they_are
    ids = fitting_prompt(tokenizer, conversation, write=write, tools=tools, **limits)
    return PromptIds(ids, in_dialect, ends_in_mark=conversation.turns[-1][-1]["role"] == "tool")


def text_ids(prompt: Text, tokenizer: Tokenizer, *, control_tokens: bool | None, context_length: int) -> PromptIds:
    """The prompt of a completion. Raises PromptError where it is empty or leaves no room."""
    if isinstance(prompt, str):
        ids = completion_prompt(tokenizer, prompt, control_tokens=control_tokens)
    else:
        ids = checked_ids(tokenizer, prompt, name="the prompt")
    if not ids:
        raise PromptError("the prompt is empty: give some text to continue")
    if len(ids) >= context_length:
        raise PromptError(
            f"the prompt has {counted(len(ids), 'token')}, which leaves none of the context's {context_length} for a "
            "reply: shorten it"
        )
    return PromptIds(ids)
