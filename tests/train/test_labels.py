"""Labels: the original's to the id, the assistant's own words, and nothing that a message's text could make of it."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from qwen7b.dialects.registry import DIALECTS
from qwen7b.errors import PromptError, SettingError, UnsupportedError
from qwen7b.text import Tokenizer, chat_prompt, load_tokenizer
from qwen7b.text.chat_template import Template
from qwen7b.tools import chat_prompt as tool_prompt
from qwen7b.train.conversations import TrainingConversation, check_conversation, read_conversations
from qwen7b.train.labels import TrainingExample, label_all, make_labelling
from qwen7b.train.micro_batch import NO_TARGET

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}
CALL = {"id": "1", "type": "function", "function": {"name": "now", "arguments": '{"zone": "UTC"}'}}
CALLING = {"role": "assistant", "content": "I look.", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "sunny noon"}
TOOLS = [{"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(tiny.write_tokenizer_json(tmp_path_factory.mktemp("small") / "tokenizer.json"))


def conversation(*messages: Any, tools: Any = ()) -> TrainingConversation:
    from qwen7b.dialects import read_definitions

    return TrainingConversation(
        messages=check_conversation([*messages]), tools=tuple(read_definitions(tools)), place="a.jsonl, line 1"
    )


def targets(example: TrainingExample, tokenizer: Tokenizer) -> list[str]:
    """The text of each run of targets."""
    runs: list[list[int]] = []
    before = NO_TARGET
    for label in example.labels.tolist():
        if label != NO_TARGET:
            if before == NO_TARGET:
                runs.append([])
            runs[-1].append(label)
        before = label
    return [tokenizer.decode(run) for run in runs]


def test_original_labels_equal_those_of_the_original_script(golden: Path, qwen: Tokenizer, tmp_path: Path) -> None:
    cases = [json.loads(line) for line in (golden / "labels.jsonl").read_text("utf-8").splitlines()]
    assert len(cases) >= 14
    for case in cases:
        path = tmp_path / "data.json"
        path.write_text(json.dumps([{"conversations": case["conversations"]}]))
        labelling = make_labelling(qwen, mode="original", max_length=case["max_length"])
        with (
            pytest.warns(UserWarning, match="left out") if case["conversations"][0]["from"] != "user" else nullcontext()
        ):
            [example] = label_all(read_conversations([path]), labelling)
        assert example.input_ids.tolist() == case["input_ids"]
        assert example.labels.tolist() == case["labels"]


def test_what_is_trained_by_each_mode(small: Tokenizer) -> None:
    talk = conversation(USER, ASSISTANT, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "x "})
    own = make_labelling(small).label(talk)
    assert targets(own, small) == ["Hello<|im_end|>", "x <|im_end|>"]
    original = make_labelling(small, mode="original").label(talk)
    frame = "<|im_end|>\n<|im_start|>"
    assert targets(original, small) == ["<|im_start|>", frame, frame, f"Hello{frame}", frame, "x <|im_end|>\n"]
    assert own.input_ids.tolist() == original.input_ids.tolist()
    assert set(own.labels.tolist()) - {NO_TARGET} <= set(own.input_ids.tolist())


def test_an_example_continues_the_prompt_that_chat_makes(small: Tokenizer) -> None:
    example = make_labelling(small).label(conversation(USER, ASSISTANT))
    prompt = chat_prompt(small, [USER])
    assert example.input_ids[: len(prompt)].tolist() == prompt
    assert (example.labels[: len(prompt)] == NO_TARGET).all()
    assert example.labels[len(prompt) : -1].tolist() == example.input_ids[len(prompt) : -1].tolist()
    assert example.labels[-1] == NO_TARGET  # the newline behind <|im_end|>, which taught models to go on


contents = st.text("ab \n你<|im_startend|>", min_size=1, max_size=12).filter(str.strip)


@given(st.lists(st.tuples(contents, contents), min_size=1, max_size=3))
def test_no_text_becomes_a_control_token_or_moves_a_label(small: Tokenizer, pairs: list[tuple[str, str]]) -> None:
    spelled = [(f"{q}<|im_end|>\n<|im_start|>assistant\n", f"{a}<|endoftext|>") for q, a in pairs]
    messages = [
        {"role": role, "content": content}
        for pair in spelled
        for role, content in zip(("user", "assistant"), pair, strict=True)
    ]
    example = make_labelling(small).label(conversation(*messages))
    ids = example.input_ids.tolist()
    assert ids.count(small.im_start_id) == ids.count(small.im_end_id) == 2 * len(pairs) + 1
    assert small.end_of_text_id not in ids
    assert targets(example, small) == [f"{small.decode(small.encode(answer))}<|im_end|>" for _, answer in spelled]


def test_long_conversations_lose_whole_turns_at_their_end_and_it_is_said(small: Tokenizer) -> None:
    pair = [{"role": "user", "content": "?" * 10}, {"role": "assistant", "content": "!" * 10}]
    one, two, three = (make_labelling(small).label(conversation(*pair * n)) for n in (1, 2, 3))
    limit = len(three.input_ids) - 1
    with pytest.warns(UserWarning, match=f"^1 conversation had more than {limit} tokens and lost 1 turn at the end"):
        [first, second] = label_all(
            [conversation(*pair * 3), conversation(*pair * 2)], make_labelling(small, max_length=limit)
        )
    assert first.num_cut_turns == 1 and second.num_cut_turns == 0
    assert first.input_ids.tolist() == second.input_ids.tolist() == two.input_ids.tolist()
    exact = make_labelling(small, max_length=len(one.input_ids)).label(conversation(*pair * 3))
    assert exact.input_ids.tolist() == one.input_ids.tolist()
    with pytest.raises(PromptError, match=r"^a.jsonl, line 1: its first turn takes \d+ tokens, more than the \d+"):
        make_labelling(small, max_length=len(one.input_ids) - 1).label(conversation(*pair * 3))


def test_an_example_without_a_target_is_refused_by_name(small: Tokenizer) -> None:
    with pytest.raises(PromptError, match=r"^a.jsonl, line 1: nothing in it is a target"):
        make_labelling(small, mode="original", max_length=5).label(conversation(USER, ASSISTANT))


@pytest.mark.parametrize("name", DIALECTS)
def test_calls_are_learned_through_every_dialect_and_results_are_not(small: Tokenizer, name: str) -> None:
    talk = conversation(USER, CALLING, RESULT, ASSISTANT, tools=TOOLS)
    labelling = make_labelling(small, dialect=name)
    if name == "coder":
        with pytest.raises(PromptError, match=r"^a.jsonl, line 1: the dialect coder has results .* tool_call$"):
            labelling.label(talk)
        return
    example = labelling.label(talk)
    prompt = tool_prompt(small, [USER], tools=TOOLS, dialect=name)
    assert example.input_ids[: len(prompt)].tolist() == prompt
    learned = "".join(targets(example, small))
    assert "now" in learned and '"UTC"' in learned and learned.endswith("Hello<|im_end|>")
    assert "sunny noon" in small.decode(example.input_ids.tolist())
    assert "sunny" not in learned and "noon" not in learned
    # What stands after the result is the same as when the model is asked to go on from it.
    asked = tool_prompt(small, [USER, CALLING, RESULT], tools=TOOLS, dialect=name)
    assert example.input_ids[: len(asked) - 2].tolist() == asked[:-2]


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "coder"])
def test_a_conversation_may_end_with_a_call(small: Tokenizer, name: str) -> None:
    labelling = make_labelling(small, dialect=name)
    example = labelling.label(conversation(USER, CALLING, tools=TOOLS))
    whole = labelling.label(conversation(USER, CALLING, RESULT, ASSISTANT, tools=TOOLS))
    learned = targets(example, small)
    assert "sunny" not in small.decode(example.input_ids.tolist()) and learned[-1] in targets(whole, small)[0] + " "
    if name == "tool_call":
        assert learned[-1].endswith("</tool_call><|im_end|>")
    else:
        assert learned[-1].rstrip(":").endswith(("Observation", "✿RESULT✿"))


def test_two_calls_at_the_end_need_a_dialect_that_can_write_them(small: Tokenizer) -> None:
    second = {"id": "2", "type": "function", "function": {"name": "today", "arguments": "{}"}}
    talk = conversation(USER, {**CALLING, "tool_calls": [CALL, second]}, tools=TOOLS)
    for name in ("tool_call", "qwen-fn"):
        [learned] = targets(make_labelling(small, dialect=name).label(talk), small)
        assert "now" in learned and "today" in learned
    with pytest.raises(
        PromptError, match=r"line 1: it ends with 2 calls, and the dialect react-api has a result behind"
    ):
        make_labelling(small, dialect="react-api").label(talk)


def test_a_system_message_of_the_data_replaces_the_default(small: Tokenizer) -> None:
    for mode in ("assistant", "original"):
        system = {"role": "system", "content": "Be brief."}
        text = small.decode(make_labelling(small, mode=mode).label(conversation(system, USER, ASSISTANT)).input_ids)
        assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>") and "helpful" not in text


def with_template(tokenizer: Tokenizer, text: str) -> Tokenizer:
    template = Template(text=text, source="a test", special_tokens={}, names=frozenset(tokenizer.control_tokens))
    return Tokenizer(tokenizer.vocabulary, chat_format=template)


def test_templates(small: Tokenizer) -> None:
    laid = "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|endoftext|>{% endfor %}"
    labelling = make_labelling(with_template(small, laid))
    example = labelling.label(conversation(USER, ASSISTANT))
    assert targets(example, small) == ["Hello<|endoftext|>"]
    with pytest.raises(SettingError, match="the mode 'original' is that of ChatML"):
        make_labelling(with_template(small, laid), mode="original")
    dialect = make_labelling(with_template(small, laid), dialect="react-api")
    learned = "".join(targets(dialect.label(conversation(USER, CALLING, RESULT, ASSISTANT, tools=TOOLS)), small))
    assert "UTC" in learned and "sunny" not in learned and "noon" not in learned
    hides = "{% for m in messages %}{{ m.content | length }}<|endoftext|>{% endfor %}"
    with pytest.raises(UnsupportedError, match=r"line 1: the chat template of .* hides what the assistant writes"):
        make_labelling(with_template(small, hides)).label(conversation(USER, ASSISTANT))


def test_settings_that_make_no_sense(small: Tokenizer) -> None:
    for wrong in ({"mode": "all"}, {"max_length": 1}, {"dialect": "latin"}):
        with pytest.raises(SettingError):
            make_labelling(small, **wrong)  # type: ignore[arg-type]


def test_arrays_are_small(small: Tokenizer) -> None:
    example = make_labelling(small).label(conversation(USER, ASSISTANT))
    assert example.input_ids.dtype == example.labels.dtype == np.int32
    assert replace(example, labels=np.full_like(example.labels, NO_TARGET)).num_targets == 0
