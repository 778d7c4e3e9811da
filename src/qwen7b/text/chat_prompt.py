"""A conversation as the prompt for its next message, with as much of the earlier turns as fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from qwen7b.config.checked import whole_number
from qwen7b.errors import PromptError, SettingError, counted, quoted
from qwen7b.text.chat_format import ChatFormat
from qwen7b.text.chatml import ChatML, jinja_template
from qwen7b.text.messages import Message, ReadConversation, checked_messages, split_turns
from qwen7b.text.rendered import Rendered
from qwen7b.text.tokenizer import Tokenizer

DEFAULT_HISTORY_TOKEN_LIMIT = 6144

ToolT = TypeVar("ToolT")


def chat_prompt(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    history_token_limit: int = DEFAULT_HISTORY_TOKEN_LIMIT,
    context_length: int | None = None,
    reply_tokens: int = 1,
) -> list[int]:
    """The prompt that asks for the assistant's next message, in the format of the model whose tokenizer this is.

    For the Qwen chat models that is ChatML, up to and including `<|im_start|>assistant\\n`. Where the last message is
    the assistant's, it is the beginning of the reply, and the prompt ends with its content. That is encoded by itself:
    the model adds tokens behind it, and never changes the last of its own into a longer one.

    A turn is a user's message and everything up to the user's next; the last turn is the one to answer. As many of the
    earlier turns are kept, newest first, as fit: together with the system message they have fewer tokens than
    `history_token_limit` (the original's `max_window_size`), and the prompt leaves `reply_tokens` of `context_length`
    free.

    Raises PromptError for messages that make no conversation, for a tokenizer without a chat format, and where the
    system message and the last turn alone leave no token of `context_length` free; UnsupportedError for a chat
    template that cannot be rendered.

    >>> chat_prompt(tokenizer, [{"role": "user", "content": "1+1=?"}])  # doctest: +SKIP
    [151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198, 151644, 872, 198, 16, 10, 16, 19884, ...]
    """
    return fitting_prompt(
        tokenizer,
        split_turns(checked_messages(messages)),
        history_token_limit=history_token_limit,
        context_length=context_length,
        reply_tokens=reply_tokens,
    )


def as_they_are(messages: Sequence[Message], tools: Sequence[object]) -> Sequence[Message]:
    """Write messages that call no tools, where none are offered: see `fitting_prompt`."""
    return messages


def fitting_prompt(
    tokenizer: Tokenizer,
    conversation: ReadConversation,
    *,
    write: Callable[[Sequence[Message], Sequence[ToolT]], Sequence[Message]] = as_they_are,
    tools: Sequence[ToolT] = (),
    history_token_limit: int,
    context_length: int | None = None,
    reply_tokens: int = 1,
) -> list[int]:
    """Like `chat_prompt`, for messages that may call `tools`: `write` makes plain ones of those that are kept.

    What it tells of the tools counts towards `history_token_limit` as the system message does. It is given the default
    system message of ChatML too, so that it can add to that.
    """
    check_tokenizer(tokenizer)
    whole_number("history_token_limit", history_token_limit, minimum=0)
    whole_number("reply_tokens", reply_tokens, minimum=0)
    if context_length is not None:
        whole_number("context_length", context_length, minimum=1)
    format = chat_format_of(tokenizer)
    system, turns = conversation.system, conversation.turns
    if system is None:
        system = default_system(format)

    def prompt_with(num_turns: int, offered: Sequence[ToolT] = tools) -> Rendered:
        kept = [message for turn in turns[len(turns) - 1 - num_turns :] for message in turn]
        written = write(kept if system is None else [system, *kept], offered)
        continues = written[-1]["role"] == "assistant"
        return format.render(tokenizer, written, add_generation_prompt=not continues, continue_final_message=continues)

    without_past = prompt_with(0)
    shortest = without_past.ids
    if context_length is not None and len(shortest) >= context_length:
        raise PromptError(
            f"the prompt has {counted(len(shortest), 'token')} without any history, which leaves none of the context's "
            f"{context_length} for a reply: shorten the last message or the system message"
            + (", or offer fewer tools" if tools else "")
        )
    without_tools = prompt_with(0, ()) if tools else without_past
    num_system = len(without_tools.ids[without_tools.system]) if without_tools.system else 0
    num_fixed = num_system + len(shortest) - len(without_tools.ids)

    def fits(prompt: list[int]) -> bool:
        if num_fixed + len(prompt) - len(shortest) >= history_token_limit:
            return False
        return context_length is None or len(prompt) + reply_tokens <= context_length

    # Usually all earlier turns fit; otherwise bisection finds how many do.
    best, fitting, too_many = shortest, 0, len(turns)
    num_turns = len(turns) - 1
    while fitting < num_turns < too_many:
        if fits(prompt := prompt_with(num_turns).ids):
            best, fitting = prompt, num_turns
        else:
            too_many = num_turns
        num_turns = (fitting + too_many) // 2
    return best


def default_system(format: ChatFormat) -> Message | None:
    """The system message that a chat format writes where a conversation has none."""
    if not isinstance(format, ChatML) or format.default_system is None:
        return None
    return {"role": "system", "content": format.default_system}


def check_tokenizer(tokenizer: object) -> None:
    """Raise SettingError for anything that is no tokenizer of ours."""
    if not isinstance(tokenizer, Tokenizer):
        raise SettingError(f"tokenizer should be one that load_tokenizer returned, found {quoted(tokenizer)}")


def template_of(tokenizer: Tokenizer) -> str | None:
    """The Jinja template of the tokenizer's model: its own, or one that writes ChatML; None where it has neither."""
    if (own := tokenizer.vocabulary.settings.chat_template) is not None:
        return own
    format = tokenizer.chat_format
    return jinja_template(format.default_system, bos=format.bos) if isinstance(format, ChatML) else None


def chat_format_of(tokenizer: Tokenizer) -> ChatFormat:
    """The chat format of the tokenizer's model. Raises PromptError where its files describe none."""
    if tokenizer.chat_format is None:
        raise PromptError(
            f"{tokenizer} has neither a chat template nor <|im_start|> and <|im_end|>, so it cannot chat: complete a "
            "text instead"
        )
    return tokenizer.chat_format
