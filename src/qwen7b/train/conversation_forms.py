"""The forms in which conversations to train on are written, each read as messages and tools.

    {"messages": [{"role": "user", "content": …}, …], "tools": […]}           OpenAI's, also with tool_calls
    {"conversations": [{"from": "human", "value": …}, …], "system": …}        ShareGPT's, and the original finetune.py's
    {"instruction": …, "input": …, "output": …, "history": [[…, …]]}          Alpaca's

https://platform.openai.com/docs/guides/supervised-fine-tuning, https://github.com/tatsu-lab/stanford_alpaca
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qwen7b.errors import PromptError, quoted
from qwen7b.text import Message

_ROLES = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_call": "assistant",
}
"""The role of each sender that "from" names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RawConversation:
    """A conversation as its form says it, before it is checked as one."""

    messages: Sequence[Message]
    tools: Sequence[object] = ()
    skips_opening: bool = False
    """Whether a first message of the assistant's was left out, as finetune.py does."""


def read_form(item: object) -> RawConversation:
    """Read one conversation in whichever form it is. Raises PromptError for none of them."""
    if isinstance(item, Mapping):
        if "messages" in item:
            return RawConversation(messages=_without_weights(item["messages"]), tools=read_tools(item))
        if "conversations" in item:
            return _read_conversations(item)
        if "instruction" in item and "output" in item:
            return _read_alpaca(item)
    found = quoted(sorted(map(str, item))) if isinstance(item, Mapping) else quoted(item)
    raise PromptError(
        "a conversation should be an object with 'messages' (OpenAI's form), 'conversations' (ShareGPT's) or "
        f"'instruction' and 'output' (Alpaca's), found {found}"
    )


def _without_weights(messages: Any) -> Any:
    """OpenAI's messages without their weights, of which only 1 is known; what is no list is refused later."""
    if not isinstance(messages, list):
        return messages
    plain = []
    for number, message in enumerate(messages, start=1):
        if isinstance(message, Mapping) and "weight" in message:
            if message["weight"] not in (None, 1):
                raise PromptError(
                    f"message {number} has the weight {quoted(message['weight'])}, and all that the assistant writes "
                    "is learned here: end the conversation before it, or drop the weight"
                )
            message = {name: value for name, value in message.items() if name != "weight"}
        plain.append(message)
    return plain


def _read_conversations(item: Mapping[str, Any]) -> RawConversation:
    sent = item["conversations"]
    if not isinstance(sent, Sequence) or isinstance(sent, str):
        raise PromptError(f"'conversations' should be a list of messages, found {quoted(sent)}")
    messages = [_read_sent(message, number) for number, message in enumerate(sent, start=1)]
    skips = bool(messages) and messages[0]["role"] == "assistant"
    return RawConversation(messages=[*_system_of(item), *messages[skips:]], tools=read_tools(item), skips_opening=skips)


def _read_sent(message: object, number: int) -> Message:
    if isinstance(message, Mapping) and "role" in message and "from" not in message:
        return message
    if not isinstance(message, Mapping) or not {"from", "value"} <= message.keys():
        raise PromptError(f"message {number} should have a 'from' and a 'value', found {quoted(message)}")
    sender, value = message["from"], message["value"]
    role = _ROLES.get(sender) if isinstance(sender, str) else None
    if role is None:
        raise PromptError(
            f"message {number} is from {quoted(sender)}: use 'user' or 'human', 'assistant' or 'gpt', 'system', "
            "'function_call' or 'observation'"
        )
    if not isinstance(value, str):
        raise PromptError(f"message {number} has {quoted(value)} for value: it should be a string")
    if sender == "function_call":
        return {"role": role, "content": None, "tool_calls": _read_calls(value, number)}
    return {"role": role, "content": value}


def _read_calls(value: str, number: int) -> list[Any]:
    """The calls in the text of a "function_call": an object with a name and arguments, or a list of them."""
    try:
        calls = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"message {number} is a function_call whose value is not JSON: {error}") from error
    return calls if isinstance(calls, list) else [calls]


def _read_alpaca(item: Mapping[str, Any]) -> RawConversation:
    history = item.get("history") or []
    pairs = history if isinstance(history, list) else [history]
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise PromptError(f"'history' should be a list of pairs of question and answer, found {quoted(history)}")
    question = "\n".join(part for name in ("instruction", "input") if (part := _text_of(item, name)))
    messages = list(_system_of(item))
    for asked, answered in [*pairs, (question, _text_of(item, "output"))]:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return RawConversation(messages=messages, tools=read_tools(item))


def _system_of(item: Mapping[str, Any]) -> list[Message]:
    """The system message that stands beside the messages, if there is one."""
    return [{"role": "system", "content": system}] if (system := _text_of(item, "system")) else []


def _text_of(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if value is not None and not isinstance(value, str):
        raise PromptError(f"{name!r} should be a string, found {quoted(value)}")
    return value or ""


def read_tools(item: Mapping[str, Any]) -> Sequence[object]:
    """The tools that a conversation offers: a list or, as in some ShareGPT files, the text of one."""
    tools = item.get("tools") or item.get("functions") or []
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise PromptError(f"'tools' is a text that is not JSON: {error}") from error
    if not isinstance(tools, list):
        raise PromptError(f"'tools' should be a list, found {quoted(tools)}")
    return tools
