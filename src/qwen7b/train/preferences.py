"""Files of preferences, in TRL's forms, become pairs of checked conversations that differ in their end.

    {"prompt": "…", "chosen": "…", "rejected": "…"}                              strings: a question and two answers
    {"prompt": [{"role": "user", …}, …], "chosen": [{"role": "assistant", …}], "rejected": […]}      messages
    {"chosen": [{"role": "user", …}, {"role": "assistant", …}], "rejected": […]}  whole conversations

A string is what a user or the assistant says, in the model's chat format. https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen7b.dialects import read_definitions
from qwen7b.errors import PromptError, Qwen7bError, counted, quoted
from qwen7b.text import Message
from qwen7b.train.conversation_forms import read_tools
from qwen7b.train.conversations import TrainingConversation, check_conversation, read_all


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferencePair:
    """Two conversations with the same beginning.

    prompt  the messages that both begin with, the last of which is to be answered
    """

    prompt: tuple[Message, ...]
    chosen: TrainingConversation
    rejected: TrainingConversation


def read_preferences(paths: Sequence[Path]) -> Iterator[PreferencePair]:
    """Read the pairs of files in order; warn, at the end, of pairs whose answers are the same, which are left out.

    Raises SettingError where a file cannot be read or holds none, PromptError where one is not as it should be.
    """
    same: list[str] = []
    for pair in read_all(paths, _read_pair, what="preference"):
        if pair.chosen.messages == pair.rejected.messages:
            same.append(pair.chosen.place)
        else:
            yield pair
    if same:
        warnings.warn(
            f"{counted(len(same), 'pair')} had twice the same answer and were left out; the first is in {same[0]}",
            stacklevel=2,
        )


def _read_pair(item: object, place: str) -> PreferencePair:
    if not isinstance(item, Mapping) or not {"chosen", "rejected"} <= item.keys():
        found = quoted(sorted(map(str, item))) if isinstance(item, Mapping) else quoted(item)
        raise PromptError(f"a preference should be an object with 'prompt', 'chosen' and 'rejected', found {found}")
    chosen, rejected = (_messages(item[name], name, role="assistant") for name in ("chosen", "rejected"))
    if item.get("prompt") is None:
        if isinstance(item["chosen"], str) or isinstance(item["rejected"], str):
            raise PromptError("it has no 'prompt', and its answers are strings: give the question as 'prompt'")
        count = next((n for n, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), None)
        count = min(len(chosen), len(rejected)) - 1 if count is None else count
        prompt, chosen, rejected = chosen[:count], chosen[count:], rejected[count:]
    else:
        prompt = _messages(item["prompt"], "prompt", role="user")
    if not prompt or prompt[-1].get("role") == "assistant":
        raise PromptError("the answers should follow a message of the user's or a tool's result: put it into 'prompt'")
    tools = tuple(read_definitions(read_tools(item)))
    answered = _answered(prompt, chosen, "chosen", tools, place)
    return PreferencePair(
        prompt=answered.messages[: len(prompt)],
        chosen=answered,
        rejected=_answered(prompt, rejected, "rejected", tools, place),
    )


def _messages(value: object, name: str, *, role: str) -> list[Any]:
    """The messages that a field holds; a string is the one message of this role."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value or not all(isinstance(message, Mapping) for message in value):
        raise PromptError(f"{name!r} should be a string or a list of messages, found {quoted(value)}")
    return value


def _answered(
    prompt: Sequence[Message], answer: Sequence[Message], name: str, tools: tuple[Any, ...], place: str
) -> TrainingConversation:
    if answer[0].get("role") != "assistant":
        raise PromptError(f"{name!r} should begin with the assistant's message, found {quoted(answer[0])}")
    try:
        messages = check_conversation([*prompt, *answer])
    except Qwen7bError as error:
        raise PromptError(f"{name!r}: {error}") from error
    return TrainingConversation(messages=messages, tools=tools, place=place)
