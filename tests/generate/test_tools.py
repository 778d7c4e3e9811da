"""Chats with tools: what the model is asked, which calls its reply makes, and what a call may not ask for."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import validate  # type: ignore[import-untyped]

import qwen7b
from qwen7b import Piece, Qwen, Reply, Sample
from qwen7b.dialects import CallDelta
from qwen7b.dialects.tool_call import ToolCallDialect
from qwen7b.errors import MissingExtraError, PromptError, SettingError
from qwen7b.tools import chat_prompt
from talking import assistant, user

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 0, "maximum": 99},
        "on": {"type": "boolean"},
        "to": {"enum": ["he", "in"]},
    },
    "required": ["n", "on", "to"],
}
TOOLS: list[Any] = [{"name": "go", "parameters": SCHEMA}, {"type": "function", "function": {"name": "now"}}]
HISTORY: list[Any] = [
    user("the inn"),
    {**assistant(""), "tool_calls": [{"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "a", "content": "3"},
]
MARKED = ToolCallDialect(has_control_tokens=False)
ASKING: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required", "max_new_tokens": 900, "dialect": MARKED}


@pytest.fixture(scope="module")
def qwen(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="none", context_length=4096)


def check_valid(reply: Reply) -> None:
    assert reply.finish_reason == "tool_calls" and reply.tool_calls
    for call in reply.tool_calls:
        schema = {"go": SCHEMA, "now": {"type": "object", "maxProperties": 0}}[call.name]
        validate(json.loads(call.arguments), schema)


@pytest.mark.parametrize("seed", range(3))
def test_calls_of_a_random_model_are_valid(qwen: Qwen, seed: int) -> None:
    reply = qwen.chat("hello", seed=seed, temperature=1.0, **ASKING)
    check_valid(reply)
    (named,) = qwen.chat("hello", seed=seed, temperature=1.0, **ASKING | {"tool_choice": "go"}).tool_calls
    assert named.name == "go"
    openai = {"type": "function", "function": {"name": "now"}}
    (named,) = qwen.chat("hello", seed=seed, temperature=1.0, **ASKING | {"tool_choice": openai}).tool_calls
    assert (named.name, named.arguments) == ("now", "{}")


def test_every_way_to_ask_makes_the_same_calls(qwen: Qwen) -> None:
    asking = ASKING | {"seed": 7, "temperature": 1.0}
    expected = qwen.chat("hello", **asking)
    check_valid(expected)

    async def ask() -> list[Reply]:
        pieces = [piece async for piece in qwen.astream("hello", **asking)]
        return [await qwen.achat("hello", **asking), joined(pieces)]

    assert asyncio.run(ask()) == [expected] * 2
    assert joined(list(qwen.stream("hello", **asking))) == expected
    assert qwen.chat_batch(["hello", "the inn"], **asking)[0] == expected
    assert qwen.chat_samples("hello", n=2, **asking)[0] == expected


def joined(pieces: list[Piece]) -> Reply:
    assert pieces[-1].reply and "".join(piece.text for piece in pieces) == pieces[-1].reply.text
    calls: list[CallDelta] = [piece.call for piece in pieces if piece.call]
    assert [call.id for call in calls if call.id] == [call.id for call in pieces[-1].reply.tool_calls]
    arguments = "".join(call.arguments for call in calls)
    assert arguments == "".join(call.arguments for call in pieces[-1].reply.tool_calls)
    return pieces[-1].reply


def test_every_token_has_a_piece_so_that_its_reader_can_end_the_reply(qwen: Qwen) -> None:
    settings = ASKING | {"dialect": "react-demo", "constrain_calls": False, "tool_choice": None, "max_new_tokens": 30}
    pieces = [*qwen.stream("hello", **settings, temperature=1.5, seed=2)]
    assert pieces[-1].reply is not None and len(pieces) >= pieces[-1].reply.usage.completion_tokens


def test_a_loop_by_hand(qwen: Qwen) -> None:
    messages: list[Any] = [user("hello")]
    reply = qwen.chat(messages, seed=7, temperature=1.0, **ASKING)
    messages += [reply.message, *({"role": "tool", "tool_call_id": c.id, "content": "3"} for c in reply.tool_calls)]
    again = qwen.chat(messages, seed=7, temperature=1.0, **ASKING)
    check_valid(again)
    assert {call.id for call in again.tool_calls}.isdisjoint({call.id for call in reply.tool_calls})
    assert again.usage.prompt_tokens > reply.usage.prompt_tokens


@pytest.mark.parametrize("dialect", ["react-api", "react-zh", "tool_call"])
def test_the_prompt_is_the_dialects(qwen: Qwen, dialect: str) -> None:
    expected = len(chat_prompt(qwen.tokenizer, HISTORY, tools=TOOLS, dialect=dialect))
    free = {"constrain_calls": False, "max_new_tokens": 1}
    assert qwen.chat(HISTORY, tools=TOOLS, dialect=dialect, **free).usage.prompt_tokens == expected  # type: ignore[arg-type]
    assert qwen.count_prompt_tokens(HISTORY, tools=TOOLS, dialect=dialect) == expected
    other = Qwen(qwen.model, qwen.tokenizer, generation=qwen.generation, dialect=dialect, context_length=4096)
    assert other.chat(HISTORY, tools=TOOLS, **free).usage.prompt_tokens == expected  # type: ignore[arg-type]
    without = len(chat_prompt(qwen.tokenizer, HISTORY, dialect=dialect))
    assert other.chat(HISTORY, max_new_tokens=1).usage.prompt_tokens == without < expected


@pytest.mark.parametrize("settings", [{"tools": []}, {"tools": None}, {"tools": TOOLS, "tool_choice": "none"}])
def test_no_tools_are_as_if_there_were_none(qwen: Qwen, settings: dict[str, Any]) -> None:
    assert qwen.chat("hello", **settings) == qwen.chat("hello")


def test_history_without_tools_needs_no_dialect(qwen: Qwen) -> None:
    """And a conversation that called tools goes on without them."""
    assert qwen.chat("hello", dialect="react-api") == qwen.chat("hello")
    assert qwen.chat(HISTORY).usage.prompt_tokens > qwen.chat(HISTORY[:1]).usage.prompt_tokens


def scripted(qwen: Qwen, text: str) -> Callable[[Any, Any], Any]:
    """A processor that makes the model say a text, and then end its reply."""
    ids = [*qwen.tokenizer.encode(text), *sorted(qwen.stop_ids)[:1]]
    start: list[int] = []

    def say(done: Any, logits: Any) -> Any:
        start.append(len(done))
        logits[ids[len(done) - start[0]]] = 1000.0
        return logits

    return say


@pytest.mark.parametrize(("parallel", "num_calls"), [(None, 2), (True, 2), (False, 1)])
def test_a_free_reply_is_read_leniently_and_can_be_held_to_one_call(
    qwen: Qwen, parallel: bool | None, num_calls: int
) -> None:
    text = "he <tool_call>\n{'name': 'now', 'arguments': {}}\n</tool_call>\n" * 2
    reply = qwen.chat(
        "hello",
        tools=TOOLS,
        dialect="tool_call",
        parallel_tool_calls=parallel,
        constrain_calls=False,
        processors=[scripted(qwen, text)],
        max_new_tokens=300,
    )
    assert [call.name for call in reply.tool_calls] == ["now"] * num_calls
    assert reply.text.strip().startswith("he") and reply.finish_reason == "tool_calls"


def test_the_dialects_stop_strings_end_a_reply(qwen: Qwen) -> None:
    text = "Thought: in\nAction: now\nAction Input: {}\nObservation: 3\nThought: the end"
    settings: dict[str, Any] = {"constrain_calls": False, "max_new_tokens": 300, "dialect": "react-api"}
    reply = qwen.chat("hello", tools=TOOLS, processors=[scripted(qwen, text)], **settings)
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("now", "{}")]
    assert qwen.tokenizer.decode(reply.token_ids).endswith("\nObservation:") and "Observation" not in reply.text


def test_what_would_stop_a_free_reply_may_stand_in_a_constrained_argument(qwen: Qwen) -> None:
    schema = {"type": "object", "properties": {"to": {"const": "Observation: the inn"}}, "required": ["to"]}
    settings: dict[str, Any] = {"tool_choice": "required", "dialect": "react-api", "max_new_tokens": 99}
    settings["processors"] = [scripted(qwen, "\nAction: go")]  # the masks force the rest
    reply = qwen.chat("hello", tools=[{"name": "go", "parameters": schema}], **settings)
    assert [call.arguments for call in reply.tool_calls] == ['{"to": "Observation: the inn"}']


def test_a_reply_after_calls_is_read_by_the_dialect_though_no_tools_are_offered(qwen: Qwen) -> None:
    settings: dict[str, Any] = {"max_new_tokens": 300, "dialect": "react-api"}
    for offered in ({}, {"tools": TOOLS, "tool_choice": "none"}):
        answer = " the end\nFinal Answer: It is 3 in the inn."
        reply = qwen.chat(HISTORY, processors=[scripted(qwen, answer)], **offered, **settings)
        assert (reply.text, reply.finish_reason) == ("It is 3 in the inn.", "stop")
        call = " hm\nAction: now\nAction Input: {}"
        reply = qwen.chat(HISTORY, processors=[scripted(qwen, call)], **offered, **settings)
        assert (reply.text, reply.tool_calls, reply.finish_reason) == ("hm", (), "stop")


@pytest.mark.parametrize("dialect", ["coder", "react-demo", "qwen-fn"])
def test_a_reply_behind_results_begins_behind_the_mark_and_its_space(qwen: Qwen, dialect: str) -> None:
    def answer(messages: list[Any]) -> str:
        said = scripted(qwen, " It is 3.")
        return qwen.chat(messages, max_new_tokens=300, dialect=dialect, processors=[said]).text

    assert answer(HISTORY) == "It is 3."
    assert answer([*HISTORY, assistant("I say")]) == " It is 3."  # a reply that was begun goes on as it is written


def test_a_reply_that_invents_a_result_ends_there_whether_calls_are_masked_or_not(qwen: Qwen) -> None:
    pytest.importorskip("llguidance")
    for dialect, text, said in (
        ("qwen-fn", "hello ✿RESULT✿: 3 ✿FUNCTION✿: now\n✿ARGS✿: {}", "hello"),
        ("react-api", "Thought: hell\nObservation: 3\nThought: the\nFinal Answer: 3", "Thought: hell"),
    ):
        for constrain in (True, False):
            script = scripted(qwen, text)
            reply = qwen.chat(
                "the inn",
                tools=TOOLS,
                dialect=dialect,
                constrain_calls=constrain,
                temperature=0,
                max_new_tokens=300,
                processors=[script],
            )
            assert (reply.text.strip(), reply.tool_calls, reply.finish_reason) == (said, (), "stop"), reply


def test_what_masks_cannot_promise_is_left_out_aloud_or_refused(qwen: Qwen) -> None:
    odd = {"type": "object", "properties": {"n": {"type": "array", "uniqueItems": True}}, "required": ["n"]}
    settings = ASKING | {"tools": [{"name": "go", "parameters": odd}], "seed": 1, "temperature": 0.5}
    with pytest.warns(UserWarning, match="the tool 'go': its arguments: the JSON schema's \"uniqueItems\" .* ignored"):
        assert qwen.chat("hello", **settings | {"max_new_tokens": 40}).tool_calls
    with pytest.raises(SettingError, match="the tool 'go': its arguments: the JSON schema's \"uniqueItems\""):
        qwen.chat("hello", constrain_calls=True, **settings)
    strict: Any = {"type": "function", "function": {**settings["tools"][0], "strict": True}}
    with pytest.raises(SettingError, match="uniqueItems"):
        qwen.chat("hello", **settings | {"tools": [strict]})
    strict["function"]["strict"] = False
    with pytest.warns(UserWarning, match="uniqueItems"):
        qwen.chat("hello", **settings | {"tools": [strict], "max_new_tokens": 40})


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"type": "string", "pattern": "^(?!a)b"}, "look-around"),
        ({"type": "string", "pattern": r"(a)\1"}, "backreferences"),
        ({"$ref": "https://example.com/schema.json"}, "does not fetch"),
    ],
)
def test_a_tool_whose_schema_no_mask_knows_is_held_to_its_name_alone(qwen: Qwen, odd: Any, message: str) -> None:
    walk = {"name": "walk", "parameters": {"type": "object", "properties": {"n": odd}, "required": ["n"]}}
    settings = ASKING | {"tools": [walk, *TOOLS], "seed": 1, "temperature": 0.5, "max_new_tokens": 40}
    with pytest.warns(UserWarning, match=f"calls of the tool 'walk' are held to no schema: .*{message}"):
        qwen.chat("hello", **settings)
    with pytest.raises(SettingError, match=f"the tool 'walk': .*{message}"):
        qwen.chat("hello", constrain_calls=True, **settings)


def test_without_the_extra_calls_are_free_and_that_is_said(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    other = Qwen(qwen.model, qwen.tokenizer, generation=qwen.generation, context_length=4096)
    with pytest.warns(UserWarning, match=r"calls of tools are not held .*: llguidance is not installed: run .*tools"):
        other.chat("hello", tools=TOOLS, max_new_tokens=1)
    with pytest.raises(MissingExtraError, match="llguidance is not installed"):
        other.chat("hello", tools=TOOLS, constrain_calls=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tools": "go"}, "tools must be a list, found 'go'"),
        ({"tools": [3]}, r"tools\[0\] must be a function"),
        ({"tools": [TOOLS[0], TOOLS[0]]}, "2 tools have the name 'go'"),
        ({"tools": TOOLS, "tool_choice": "fly"}, "the tool that is to be called is 'fly', and the tools are: go, now"),
        ({"tool_choice": "required"}, "a call is required, and there are no tools"),
        ({"tools": [], "tool_choice": "go"}, "the tool that is to be called is 'go', and the tools are: none"),
        ({"tools": TOOLS, "tool_choice": 3}, "tool_choice must be 'auto', 'none', 'required', a tool's name or"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice must be"),
        ({"tools": TOOLS, "parallel_tool_calls": 1}, "parallel_tool_calls must be True or False, found 1"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls=True is of no use without tools"),
        ({"constrain_calls": True}, "constrain_calls=True is of no use without tools"),
        ({"tools": TOOLS, "dialect": "pig latin"}, "dialect must be one of .*tool_call.*, found 'pig latin'"),
        ({"tools": TOOLS, "response_format": SCHEMA}, "response_format and tools both say what a reply must look like"),
        ({"tool": TOOLS}, r"chat has no setting tool: did you mean tools\?"),
    ],
)
def test_what_makes_no_sense_is_refused(qwen: Qwen, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        qwen.chat("hello", **settings)


def test_other_calls_and_models_take_no_tools(qwen: Qwen) -> None:
    with pytest.raises(SettingError, match="tools is of no use to complete, found"):
        qwen.complete("hello", tools=TOOLS)  # type: ignore[call-arg]
    base = Qwen(qwen.model, qwen.tokenizer, generation=qwen.generation, chat=False)
    with pytest.raises(PromptError, match="base model"):
        base.chat("hello", tools=TOOLS)
    with pytest.raises(SettingError, match="dialect must be one of"):
        Qwen(qwen.model, qwen.tokenizer, dialect="pig latin")
    with pytest.raises(SettingError, match="dialect must be one of"):
        qwen7b.load("nowhere", dialect="pig latin")


def test_a_dialect_is_loaded_by_name(tiny_chat_checkpoint: Path) -> None:
    assert qwen7b.load(tiny_chat_checkpoint, quantize="none", dialect="react-zh").dialect.name == "react-zh"


def test_functions_are_tools(qwen: Qwen) -> None:
    def go(on: bool, to: Literal["he", "in"] = "in") -> None:
        """Go somewhere."""

    reply = qwen.chat("hello", sampling=Sample(seed=3), **ASKING | {"tools": [go], "tool_choice": "go"})
    (call,) = reply.tool_calls
    assert set(json.loads(call.arguments)) in ({"on"}, {"on", "to"})
