"""The calls of tools that a model makes for the items of a task, each of which has tools of its own."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from qwen7b.dialects.arguments import load_object
from qwen7b.dialects.registry import find_dialect
from qwen7b.errors import ArgumentsError, PromptError, counted
from qwen7b.evals.outputs import Output
from qwen7b.generate import Greedy, Qwen
from qwen7b.generate.answers import Answers, News
from qwen7b.generate.reply import Reply
from qwen7b.tasks.item import Calls, Item

_WINDOW = 64
"""The most replies in the making: each has a grammar of its own, which takes memory."""


def call_outputs(qwen: Qwen, items: Sequence[Item], wanted: Calls) -> Generator[tuple[Item, Output], None, None]:
    """Yield each item with the model's calls, in the order in which they are done.

    Raises PromptError, before the first, where the context has no room for a prompt with its tools.
    """
    dialect = qwen.dialect if wanted.dialect is None else find_dialect(wanted.dialect)
    for item in items:
        length = qwen.count_prompt_tokens(item.messages, tools=_tools(item), dialect=dialect)
        if length + wanted.max_new_tokens > qwen.context_length:
            raise PromptError(
                f"{item.id} has a prompt of {counted(length, 'token')}, and the model's context of "
                f"{qwen.context_length} has no room for it and a reply of {wanted.max_new_tokens}: load it with a "
                "larger context_length (--context-length)"
            )
    pending, running = deque(items), dict[str, tuple[Item, Answers]]()
    news: deque[tuple[str, News]] = deque()
    try:
        while pending or running:
            while pending and len(running) < _WINDOW:
                item = pending.popleft()
                answers = qwen.answers("chat", [item.messages], _settings(item, wanted))
                running[item.id] = item, answers
                answers.start(partial(_note, news, item.id))
            next(iter(running.values()))[1].shared.wait(lambda: bool(news))
            while news:
                name, (_, piece) = news.popleft()
                if isinstance(piece, Exception):
                    raise piece
                if piece.reply is not None:
                    yield running.pop(name)[0], _output(qwen, piece.reply)
    finally:
        for _, answers in running.values():
            answers.shared.cancel(answers.requests)


def _note(news: deque[tuple[str, News]], name: str, own: News) -> None:
    news.append((name, own))


def _tools(item: Item) -> list[object]:
    return json.loads(item.tools) if item.tools else []


def _settings(item: Item, wanted: Calls) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "sampling": Greedy(),
        "max_new_tokens": wanted.max_new_tokens,
        "dialect": wanted.dialect,
    }
    if tools := _tools(item):
        # What masks cannot promise of a schema is left out of it: True would refuse such an item.
        settings |= {"tools": tools, "constrain_calls": None if wanted.is_constrained else False}
    return settings


def _output(qwen: Qwen, reply: Reply) -> Output:
    return Output(
        text=json.dumps(
            [{"name": call.name, "arguments": _arguments(call.arguments)} for call in reply.tool_calls],
            ensure_ascii=False,
        ),
        reply=qwen.tokenizer.decode(reply.token_ids),
        prompt_tokens=reply.usage.prompt_tokens,
        finish_reason=reply.finish_reason,
        completion_tokens=reply.usage.completion_tokens,
    )


def _arguments(text: str) -> dict[str, Any] | str:
    """What arguments say, read as leniently as whoever runs the call reads them; the text where they say nothing."""
    try:
        return load_object(text)
    except ArgumentsError:
        return text
