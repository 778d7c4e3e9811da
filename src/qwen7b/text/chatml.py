"""Conversations as token ids, in the ChatML of the Qwen chat models: the only place that knows it.

    <|im_start|>system
    You are a helpful assistant.<|im_end|>
    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant

Each <|…|> is one control token; roles, newlines and contents are encoded as ordinary text, each by itself, so nothing
in a message can open or close another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from qwen7b.errors import PromptError, SettingError
from qwen7b.text.tokenizer import Tokenizer

Message: TypeAlias = Mapping[str, str]
"""One message: its "role", which is "system", "user" or "assistant", and its "content"."""

DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant."
DEFAULT_HISTORY_TOKEN_LIMIT = 6144


def chat_prompt(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    history_token_limit: int = DEFAULT_HISTORY_TOKEN_LIMIT,
    context_length: int | None = None,
    reply_tokens: int = 1,
) -> list[int]:
    """The prompt that asks for the assistant's next message, up to and including `<|im_start|>assistant\\n`.

    A turn is a user's message and all that follows up to the user's next; the last one is to be answered. Of the
    others, the newest stay whose tokens, with those of the system message, number fewer than `history_token_limit`
    (the original's `max_window_size`), and with which the prompt leaves `reply_tokens` of `context_length` free.

    Raises PromptError for messages that make no conversation, for a vocabulary without ChatML, and where the system
    message and the last turn alone leave no token of `context_length` free.

    >>> chat_prompt(tokenizer, [{"role": "user", "content": "1+1=?"}])  # doctest: +SKIP
    [151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198, 151644, 872, 198, 16, 10, 16, 19884, ...]
    """
    if tokenizer.im_start_id is None or tokenizer.im_end_id is None:
        raise PromptError(f"{tokenizer} has no <|im_start|> and <|im_end|>, so it cannot chat: complete a text instead")
    if history_token_limit < 0:
        raise SettingError(f"history_token_limit must not be negative, found {history_token_limit}")
    im_start, im_end, newline = [tokenizer.im_start_id], [tokenizer.im_end_id], tokenizer.encode("\n")

    def encode_message(message: Message) -> list[int]:
        role, content = tokenizer.encode(message["role"]), tokenizer.encode(message["content"])
        return im_start + role + newline + content + im_end

    system_message, turns = _split_turns(messages)
    system = encode_message(system_message)
    question = newline + encode_message(turns[-1][0]) + newline + im_start + tokenizer.encode("assistant") + newline
    num_fixed = len(system) + len(question)
    if context_length is not None and num_fixed >= context_length:
        raise PromptError(
            f"the prompt has {num_fixed} tokens without any history, which leaves none of the context's "
            f"{context_length} for a reply: shorten the last message or the system message"
        )
    history: list[int] = []
    for turn in reversed(turns[:-1]):
        longer = [id for message in turn for id in newline + encode_message(message)] + history
        if len(system) + len(longer) >= history_token_limit:
            break
        if context_length is not None and num_fixed + len(longer) + reply_tokens > context_length:
            break
        history = longer
    return system + history + question


def _split_turns(messages: Sequence[Message]) -> tuple[Message, list[list[Message]]]:
    """The system message and the turns, the last of which is one message of the user's."""
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        raise PromptError(f"a conversation should be a list of messages, found {messages!r:.40}")
    for number, message in enumerate(messages, start=1):
        _check_message(message, number)
    if not messages or [message["role"] for message in messages] == ["system"]:
        raise PromptError("there is nothing to answer: give at least one message whose role is 'user'")
    if messages[-1]["role"] != "user":
        raise PromptError(
            f"the last message is from the {messages[-1]['role']}, so there is nothing to answer: "
            "end with a message whose role is 'user'"
        )
    system: Message = {"role": "system", "content": DEFAULT_SYSTEM_PROMPT}
    if messages[0]["role"] == "system":
        system, *messages = messages
    turns: list[list[Message]] = []
    for message in messages:
        if message["role"] == "system":
            raise PromptError("only the first message may have the role 'system': join the system messages into one")
        if message["role"] == "user":
            turns.append([])
        elif not turns:
            raise PromptError("the conversation begins with the assistant: put a message of the user's first")
        turns[-1].append(message)
    return system, turns


def _check_message(message: Message, number: int) -> None:
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise PromptError(f"message {number} should have exactly a 'role' and a 'content', found {message!r:.100}")
    if message["role"] not in ("system", "user", "assistant"):
        raise PromptError(f"message {number} has the role {message['role']!r}: use 'system', 'user' or 'assistant'")
    if not isinstance(message["content"], str):
        raise PromptError(f"message {number} has {message['content']!r:.100} for content: it should be a string")
