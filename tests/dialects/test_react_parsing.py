"""Replies of ReAct: read whole and in pieces, by the rules of the original's server and of its demo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.reading_calls import read, read_every_split
from qwen7b.dialects import CallDelta, ParsedReply
from qwen7b.dialects.react_api import REACT_API
from qwen7b.dialects.react_demo import REACT_DEMO
from qwen7b.dialects.react_parsing import FirstCallParser, LastCallParser
from qwen7b.dialects.registry import find_dialect
from qwen7b.text.messages import ToolCall

ACTION, INPUT, RESULT, ANSWER = "\nAction:", "\nAction Input:", "\nObservation:", "\nFinal Answer:"
PARTS = [ACTION, INPUT, RESULT, ANSWER, "Thought:", "Action", "\nAc", "\nObs", " ", "\n", "now", "你", "{}", "-" * 90]
replies = st.lists(st.sampled_from(PARTS), max_size=14).map("".join)
plain_texts = st.text(st.sampled_from("ab你: \n{}\"'"), max_size=30).map(str.strip)
names = st.text(st.sampled_from("ab_.-你"), min_size=1, max_size=8)


def called(name: str, arguments: str, content: str = "") -> ParsedReply:
    return ParsedReply(content, (ToolCall(name, arguments),))


def one_line(text: str) -> bool:
    return text.strip() != "" and "\n" not in text.strip()


def without_cut_mark(text: str) -> str:
    """A reply that was cut while it wrote the mark of a result, without the beginning of this."""
    return next((text[:-length] for length in range(len(RESULT) - 1, 0, -1) if text.endswith(RESULT[:length])), text)


def read_slowly(text: str) -> ParsedReply:
    """The rules of `FirstCallParser`, said of a whole reply."""
    action, input, answer = text.find(ACTION), text.find(INPUT), text.find(ANSWER)
    looks_plain = not text.startswith("Thought:") and not text[:1].isspace()
    is_plain = looks_plain and all(place < 0 or place >= 160 for place in (action, input, answer))
    if 0 <= action < input and (is_plain or not 0 <= answer < action) and one_line(text[action + 8 : input]):
        arguments, _, _ = without_cut_mark(text)[input + len(INPUT) :].partition(RESULT)
        thought = text[:action].rstrip()
        if not is_plain:
            _, mark, rest = text[:action].partition("Thought: ")
            thought = (rest if mark else thought.strip().removeprefix("Thought:")).strip()
        return called(text[action + len(ACTION) : input].strip(), arguments.strip(), thought)
    if answer < 0 or (looks_plain and answer >= 160) or is_plain:
        return ParsedReply(text)
    rest = text[answer + len(ANSWER) :]
    while 0 <= (place := rest.find(ANSWER)) <= 20:
        rest = rest[place + len(ANSWER) :]
    return ParsedReply(rest.removeprefix(" "))


@given(replies)
def test_the_first_call_is_read_alike_in_any_pieces_and_slowly(text: str) -> None:
    assert read_every_split(REACT_API, text) == read_slowly(text)


@given(replies)
def test_the_last_call_is_read_alike_in_any_pieces_and_as_the_demo_reads_it(text: str) -> None:
    action, input, result = text.rfind(ACTION), text.rfind(INPUT), text.rfind(RESULT)
    expected = ParsedReply(text)
    if 0 <= action < input and one_line(name := text[action + len(ACTION) : input]):
        end = result if result > input else len(without_cut_mark(text))
        expected = called(name.strip(), text[input + len(INPUT) : end].strip(), text[:action])
    assert read_every_split(REACT_DEMO, text) == expected


@given(plain_texts, names, plain_texts)
def test_a_call_is_read_as_it_is_written(thought: str, name: str, arguments: str) -> None:
    text = f"Thought: {thought}\nAction: {name}\nAction Input: {arguments}"
    for end in ("", "\n", "\nObservation:", "\nObservation: 1\nThought: 2\nAction: b\nAction Input: 3"):
        assert read(REACT_API, text + end) == called(name, arguments, thought)
    for end in ("", "\n", "\nObservation:"):
        assert read(REACT_DEMO, text + end) == called(name, arguments, f"Thought: {thought}")


@pytest.mark.parametrize(
    "text",
    [
        "Action: a\nAction Input: {}",  # no line before it
        "Use \nAction: to act.",
        "\nAction Input: {}\nAction: late",
        "\nAction: two\nlines\nAction Input: {}",
        "\nAction:\n\nAction Input: {}",
        "\nAction: a\nActionInput: {}",
        "\nAction: a\n  Action Input: {}",
        "\nAction: a Action Input: {}",
        "\naction: a\naction input: {}",
        '<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call>',
        '{"name": "a", "arguments": {}}',
        "\nAction: cut sho",
        "Thought: x\nAction: a\nAction Inp",
    ],
)
def test_what_is_no_action_is_content(text: str) -> None:
    assert read_every_split(REACT_API, text) == ParsedReply(text)
    assert read_every_split(REACT_DEMO, text) == ParsedReply(text)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("Thought: done.\nFinal Answer: 12 °C", "12 °C"),
        (" I know it now.\nFinal Answer: 12 °C", "12 °C"),  # behind an open "Thought:"
        ("Thought: 知道了。\nFinal Answer:十二度", "十二度"),
        ("Thought: done.\nFinal Answer: \nFinal Answer: 3", "3"),
        (
            "Thought: done.\nFinal Answer: Say\n\nFinal Answer: and then what you think, behind it.",
            "and then what you think, behind it.",
        ),
        ("Thought: done.\nAction: none\nFinal Answer: 3", "3"),
        ("Thought: done.\nAction: \nFinal Answer: 3", "3"),
    ],
)
def test_an_answer_stands_behind_its_mark(text: str, content: str) -> None:
    assert read_every_split(REACT_API, text) == ParsedReply(content)


def test_an_answer_that_explains_actions_makes_none() -> None:
    """Where the original's server would see one."""
    answer = "In ReAct a model writes\nThought: …\nAction: name\nAction Input: {}\nFinal Answer: …"
    assert read_every_split(REACT_API, f"Thought: easy\nFinal Answer: {answer}") == ParsedReply(answer)


def test_a_mark_that_was_cut_is_no_argument() -> None:
    for length in range(len(RESULT)):
        text = "\nAction: a\nAction Input: {}" + RESULT[:length]
        assert read_every_split(REACT_API, text) == read_every_split(REACT_DEMO, text) == called("a", "{}")
    assert read_every_split(REACT_API, "\nAction: a\nAction Input: {\nOf") == called("a", "{\nOf")


def test_a_thought_of_a_call_is_its_content() -> None:
    for opening in (
        "Thought: Let me see.",
        " Let me see.",
        "Thought:Let me see.",
        "Let me see.",
        "Well.\nThought: Let me see.",
    ):
        assert read_every_split(REACT_API, f"{opening}\nAction: a\nAction Input: ") == called("a", "", "Let me see.")


def test_a_long_reply_without_marks_is_text_that_still_may_call() -> None:
    text = "It is a long story. " * 10
    assert read_every_split(REACT_API, f"{text}\nFinal Answer: 3").content.endswith("\nFinal Answer: 3")
    assert read_every_split(REACT_API, f"{text} \nAction: a\nAction Input: {{}}") == called("a", "{}", text.rstrip())


def streamed(parser: FirstCallParser | LastCallParser, text: str) -> list[tuple[int, str | CallDelta]]:
    """What is given out, and after how many characters."""
    return [(place, item) for place, character in enumerate(text, 1) for item in parser.push(character)]


def test_answers_and_long_texts_are_given_out_as_they_come() -> None:
    answer = "It is twelve degrees in Lanzhou, and there is a breeze from the south-east. " * 2
    for text, delay in ((f"Thought: I know.\nFinal Answer: {answer}", 70), (answer * 3, 180)):
        given = streamed(FirstCallParser(), text)
        assert given[0][0] <= delay
        assert sum(len(item) for _, item in given if isinstance(item, str)) >= len(text) - 40
        assert all(len(item) == 1 for _, item in given[1:] if isinstance(item, str) and not item.startswith(" "))


def test_a_call_is_given_out_as_it_comes() -> None:
    head, arguments = "Thought: hm\nAction: weather\nAction Input:", ' {"city": "Lanzhou"}'
    given = streamed(FirstCallParser(), head + arguments)
    assert given[:2] == [(len(head), "hm"), (len(head), CallDelta(0, "", "weather"))]
    assert [place for place, _ in given[2:4]] == [len(head) + 2, len(head) + 3]
    assert given[-1] == (len(head + arguments), CallDelta(0, "}"))


def test_the_demo_gives_out_what_comes_before_an_action() -> None:
    text = "Thought: hm\nAction: a\nAction Input: {}"
    assert streamed(LastCallParser(), text)[-1][0] == len("Thought: hm")


def test_recorded_replies_are_read_alike_in_any_pieces() -> None:
    """Some 200 replies of the demo model to prompts in three dialects, a third of them not stopped at a result."""
    lines = Path(__file__).with_name("react_replies.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 200
    num_calls = 0
    for recorded in map(json.loads, lines):
        dialect = find_dialect(recorded["dialect"])
        reply = read_every_split(dialect, recorded["text"])
        num_calls += len(reply.calls)
        if dialect is not REACT_DEMO:
            assert reply == read_slowly(recorded["text"])
    assert num_calls >= 100
