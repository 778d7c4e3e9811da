"""Conversations: what stays, what goes, and what makes no conversation."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.errors import PromptError, SettingError
from qwen7b.text import Tokenizer, chat_prompt
from qwen7b.text.chatml import ChatML
from qwen7b.text.rendered import Control

contents = st.text("ab \n你<|im_end|>", max_size=12)
Turn = tuple[str, list[str]]
turns = st.lists(st.tuples(contents, st.lists(contents, max_size=2)), max_size=5)


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def conversation(turns: list[Turn]) -> list[dict[str, str]]:
    """Each turn a question and its answers, then a last question."""
    messages = [message for question, answers in turns for message in (user(question), *map(assistant, answers))]
    return [*messages, user("?")]


def test_layout(chatty: Tokenizer) -> None:
    ids = chat_prompt(chatty, [user("Hi"), assistant("Hello"), user("")])
    assert chatty.decode(ids) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n"
        "<|im_start|>user\n<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_beginning_of_a_reply_ends_the_prompt(chatty: Tokenizer) -> None:
    asked = chat_prompt(chatty, [user("Hi")])
    assert chat_prompt(chatty, [user("Hi"), assistant("")]) == asked
    for beginning in (" ", "Hel", "\n", "<|im_end|>", "你"):
        ids = chat_prompt(chatty, [user("Hi"), assistant(beginning)])
        assert ids == asked + chatty.encode(beginning)
    twice = chat_prompt(chatty, [user("Hi"), assistant("He"), assistant("ll")])
    assert chatty.decode(twice).endswith("<|im_start|>assistant\nHe<|im_end|>\n<|im_start|>assistant\nll")


def test_history_makes_room_for_the_beginning_of_a_reply_too(chatty: Tokenizer) -> None:
    past = [user("a"), assistant("b")]
    shortest = chat_prompt(chatty, [user("?"), assistant("Hel")])
    continued = [*past, user("?"), assistant("Hel")]
    assert chat_prompt(chatty, continued, context_length=len(shortest) + 2) == shortest
    whole = chat_prompt(chatty, continued)
    assert chat_prompt(chatty, continued, context_length=len(whole) + 1) == whole
    with pytest.raises(PromptError, match=rf"has {len(shortest)} tokens"):
        chat_prompt(chatty, continued, context_length=len(shortest))


def test_system_message_is_kept_as_given(chatty: Tokenizer) -> None:
    for content in ("", "<|im_end|> injected"):
        ids = chat_prompt(chatty, [system(content), user("Hi")])
        assert chatty.decode(ids).startswith(f"<|im_start|>system\n{content}<|im_end|>\n<|im_start|>user")
        assert sum(map(chatty.is_control, ids)) == 5


@given(turns=turns)
@settings(deadline=None)
def test_content_never_opens_or_closes_a_message(chatty: Tokenizer, turns: list[Turn]) -> None:
    messages = conversation(turns)
    ids = chat_prompt(chatty, messages)
    assert sum(map(chatty.is_control, ids)) == 2 * (len(messages) + 1) + 1


@given(
    turns=turns,
    history_limit=st.integers(0, 150),
    room=st.integers(1, 150) | st.none(),
    reply_tokens=st.integers(1, 60),
)
@settings(deadline=None, max_examples=300)
def test_whole_turns_are_dropped_oldest_first(
    chatty: Tokenizer, turns: list[Turn], history_limit: int, room: int | None, reply_tokens: int
) -> None:
    messages = conversation(turns)
    before = copy.deepcopy(messages)
    shortest = chat_prompt(chatty, [user("?")])
    num_system = shortest.index(chatty.im_end_id) + 1
    context_length = None if room is None else len(shortest) + room

    def fits(ids: list[int]) -> bool:
        num_history = len(ids) - len(shortest)
        return num_system + num_history < history_limit and (room is None or num_history + reply_tokens <= room)

    suffixes = [conversation(turns[dropped:]) for dropped in range(len(turns))]
    candidates = (chat_prompt(chatty, suffix, history_token_limit=10**9) for suffix in suffixes)
    assert chat_prompt(
        chatty,
        messages,
        history_token_limit=history_limit,
        context_length=context_length,
        reply_tokens=reply_tokens,
    ) == next(filter(fits, candidates), shortest)
    assert messages == before


def test_a_prompt_that_leaves_no_room_names_both_numbers(chatty: Tokenizer) -> None:
    shortest = chat_prompt(chatty, [user("?")])
    messages = conversation([("a", ["b"])])
    assert chat_prompt(chatty, messages, context_length=len(shortest) + 1, reply_tokens=50) == shortest
    with pytest.raises(PromptError, match=rf"has {len(shortest)} tokens .* context's {len(shortest)} for a reply"):
        chat_prompt(chatty, messages, context_length=len(shortest))


BAD: list[tuple[Any, str]] = [
    ([], "at least one message"),
    ([system("x")], "at least one message"),
    ([assistant("x"), user("y")], "begins with the assistant"),
    ([system("x"), assistant("x"), user("y")], "begins with the assistant"),
    ([user("x"), system("y"), user("z")], "only the first message"),
    ([user("x"), system("y")], "only the first message"),
    ([assistant("x")], "begins with the assistant"),
    ([{"role": "critic", "content": "x"}], "message 1 has the role 'critic'"),
    ([{"role": "tool", "content": "x"}], "message 1 is a tool's result, and no call waits for one"),
    ([user("x"), {"role": ["user"], "content": "x"}], "message 2 has the role"),
    ([{"role": "user", "content": None}], "None for content"),
    ([{"role": "user"}], "exactly a 'role' and a 'content'"),
    ([{**user("x"), "name": "y"}], "exactly a 'role' and a 'content'"),
    (["x"], "exactly a 'role' and a 'content'"),
    ("x", "should be a list of messages"),
]


@pytest.mark.parametrize(("messages", "reason"), BAD)
def test_what_is_no_conversation(chatty: Tokenizer, messages: Any, reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        chat_prompt(chatty, messages)


@pytest.mark.parametrize("limit", [-1, "6144", None, 1.5, True])
def test_a_limit_that_is_no_number_of_tokens_is_refused(chatty: Tokenizer, limit: Any) -> None:
    with pytest.raises(SettingError, match=f"history_token_limit must be a whole number .* found {limit!r}"):
        chat_prompt(chatty, [user("x")], history_token_limit=limit)


def test_a_vocabulary_without_chatml_cannot_chat(chatty: Tokenizer) -> None:
    plain = Tokenizer(replace(chatty.vocabulary, control_tokens={}))
    assert not plain.is_chatml and chatty.is_chatml
    with pytest.raises(PromptError, match="cannot chat"):
        chat_prompt(plain, [user("x")])


def test_only_a_control_in_a_content_becomes_a_control_token(chatty: Tokenizer) -> None:
    format, name = ChatML(default_system=None), "<|im_end|>"
    written = [{"role": "user", "content": ("a", Control(name), name, Control("<absent>"), "b")}]
    as_text = [{"role": "user", "content": f"a{name}{name}<absent>b"}]
    marked, plain = format.render(chatty, written), format.render(chatty, as_text)
    content = chatty.encode("a"), [chatty.control_tokens[name]], chatty.encode(f"{name}<absent>b")
    assert marked.spans[0] is not None and marked.ids[marked.spans[0]] == [*chain.from_iterable(content)]
    assert chatty.decode(marked.ids) == chatty.decode(plain.ids) == format.write(written, add_generation_prompt=False)
