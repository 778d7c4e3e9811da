"""What a call is asked, as token ids: a conversation, with tools or without, or a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

from qwen7b.dialects import Dialect, ToolDefinition
from qwen7b.dialects.tool_prompt import tool_prompt
from qwen7b.errors import PromptError, counted
from qwen7b.generate.continuations import Text, checked_ids
from qwen7b.text import Message, Tokenizer, chat_prompt
from qwen7b.text.completion_prompt import completion_prompt
from qwen7b.text.messages import read_messages, split_turns

if TYPE_CHECKING:
    from qwen7b.generate.call_settings import CheckedSettings

ChatInput = str | Sequence[Message]
"""What a chat answers: a question, or messages that end with one, with results of tools, or with the beginning of the
answer."""


class PromptLimits(TypedDict, total=False):
    """The limits of `qwen7b.chat_prompt`."""

    history_token_limit: int
    context_length: int | None
    reply_tokens: int


def chat_ids(
    messages: ChatInput, tokenizer: Tokenizer, settings: CheckedSettings, *, dialect: Dialect, context_length: int
) -> list[int]:
    """The prompt for a conversation. Raises PromptError where there is nothing to answer."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    _, turns = split_turns(messages)
    if not turns[-1][0]["content"].strip():
        raise PromptError("the question is empty: say something in the last message")
    limits: PromptLimits = {
        "history_token_limit": settings.history_token_limit,
        "context_length": context_length,
        # History makes room for the reply, but a generous limit must not drive all of it out.
        "reply_tokens": min(settings.max_new_tokens, context_length // 4),
    }
    tools = settings.offered.definitions
    return conversation_ids(messages, tokenizer, tools=tools, dialect=dialect, **limits)


def conversation_ids(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    *,
    tools: Sequence[ToolDefinition],
    dialect: Dialect,
    **limits: Unpack[PromptLimits],
) -> list[int]:
    """The prompt for a conversation, in which a dialect has a part where tools are offered or were called."""
    if tools or has_calls(messages):
        return tool_prompt(tokenizer, messages, tools=tools, dialect=dialect, **limits)
    return chat_prompt(tokenizer, messages, **limits)


def has_calls(messages: ChatInput) -> bool:
    """Whether tools were called in a conversation, so that a dialect writes it and reads the reply to it."""
    return not isinstance(messages, str) and any(message["role"] == "tool" for message in read_messages(messages))


def text_ids(prompt: Text, tokenizer: Tokenizer, *, control_tokens: bool | None, context_length: int) -> list[int]:
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
    return ids
