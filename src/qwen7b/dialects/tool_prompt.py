"""Conversations with tools as prompts, and replies read for calls: what `qwen7b.tools` exports."""

from __future__ import annotations

from collections.abc import Sequence

from qwen7b.dialects.definition import read_definitions
from qwen7b.dialects.dialect import Dialect, ParsedReply, read_reply
from qwen7b.dialects.registry import dialect_of, find_dialect
from qwen7b.errors import SettingError, quoted
from qwen7b.text import DEFAULT_HISTORY_TOKEN_LIMIT, Message, Tokenizer
from qwen7b.text.chat_prompt import check_tokenizer, fitting_prompt
from qwen7b.text.messages import split_turns


def tool_prompt(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    tools: Sequence[object] | None = None,
    dialect: str | Dialect | None = None,
    history_token_limit: int = DEFAULT_HISTORY_TOKEN_LIMIT,
    context_length: int | None = None,
    reply_tokens: int = 1,
) -> list[int]:
    """The prompt that asks for the assistant's next message, in a conversation that may call tools.

    Tools and messages may be in OpenAI's form or in the original's; `tools` may be empty. Without a `dialect` it is the
    one that the model was trained on, as far as its tokenizer tells. Where the last messages are
    results, the assistant goes on from them. Whole turns are dropped where the past does not fit, so no call is
    without its result, and what is said of the tools counts towards `history_token_limit` as the system message does;
    else this is `qwen7b.chat_prompt`, whose limits and errors it has. Raises SettingError for what is no tool and for
    an unknown dialect.

    >>> tool_prompt(tokenizer, messages, tools=[{"name": "now"}], dialect="react-api")  # doctest: +SKIP
    """
    check_tokenizer(tokenizer)
    chosen = dialect_of(tokenizer) if dialect is None else find_dialect(dialect, tokenizer)
    return fitting_prompt(
        tokenizer,
        split_turns(messages),
        write=chosen.write,
        tools=read_definitions(() if tools is None else tools),
        history_token_limit=history_token_limit,
        context_length=context_length,
        reply_tokens=reply_tokens,
    )


def parse_reply(text: str, *, dialect: str | Dialect, tools: Sequence[object] | None = None) -> ParsedReply:
    """Read what a reply says and the calls that it makes, with their arguments as they are written.

    A dialect that must know the tools' names to tell a call is given `tools`.

    >>> parse_reply("Thought: Now?\\nAction: now\\nAction Input: {}", dialect="react-api").calls
    (ToolCall(name='now', arguments='{}', id=''),)
    """
    if not isinstance(text, str):
        raise SettingError(f"text must be a reply, found {quoted(text)}")
    return read_reply(find_dialect(dialect).parser(read_definitions(() if tools is None else tools)), text)
