"""Pairs of answers: TRL's forms all give the same pair, only answers are learned, and mistakes have their line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tiny
from qwen7b.errors import PromptError, SettingError
from qwen7b.text import Tokenizer, chat_prompt, load_tokenizer
from qwen7b.train.labels import make_labelling
from qwen7b.train.micro_batch import NO_TARGET
from qwen7b.train.preference_examples import label_pair, label_pairs
from qwen7b.train.preferences import PreferencePair, read_preferences

ASKED = {"role": "user", "content": "Hi"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("Hello", "he"))
FORMS: dict[str, dict[str, Any]] = {
    "strings": {"prompt": "Hi", "chosen": "Hello", "rejected": "he"},
    "messages": {"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]},
    "mixed": {"prompt": [ASKED], "chosen": "Hello", "rejected": [BAD]},
    "whole conversations": {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
    "an empty prompt beside them": {"prompt": None, "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(tiny.write_tokenizer_json(tmp_path_factory.mktemp("small") / "tokenizer.json"))


def read(tmp_path: Path, *items: Any) -> list[PreferencePair]:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return [*read_preferences([path])]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(tmp_path: Path, form: str) -> None:
    [pair] = read(tmp_path, FORMS[form])
    assert list(pair.prompt) == [ASKED]
    assert list(pair.chosen.messages) == [ASKED, GOOD] and list(pair.rejected.messages) == [ASKED, BAD]
    assert pair.chosen.place == f"{tmp_path / 'data.jsonl'}, line 1"


def test_the_prompt_of_whole_conversations_is_all_that_they_share(tmp_path: Path) -> None:
    before = [{"role": "system", "content": "S"}, ASKED, GOOD, {"role": "user", "content": "And?"}]
    [pair] = read(tmp_path, {"chosen": [*before, GOOD], "rejected": [*before, BAD]})
    assert list(pair.prompt) == before


def targets(labels: Any, tokenizer: Tokenizer) -> str:
    return tokenizer.decode([label for label in labels.tolist() if label != NO_TARGET])


def test_only_what_the_assistant_writes_behind_the_prompt_is_learned(tmp_path: Path, tokenizer: Tokenizer) -> None:
    before = [ASKED, {"role": "assistant", "content": "the"}, {"role": "user", "content": "in"}]
    then = [{"role": "user", "content": "tin"}, {"role": "assistant", "content": "hell"}]
    [pair] = read(tmp_path, {"prompt": before, "chosen": [GOOD, *then], "rejected": [BAD]})
    example = label_pair(pair, make_labelling(tokenizer))
    assert targets(example.chosen.labels, tokenizer) == "Hello<|im_end|>hell<|im_end|>"
    assert targets(example.rejected.labels, tokenizer) == "he<|im_end|>"
    prompt = chat_prompt(tokenizer, before)
    for side in (example.chosen, example.rejected):
        assert side.input_ids[: len(prompt)].tolist() == prompt
        assert (side.labels[: len(prompt)] == NO_TARGET).all() and side.labels[len(prompt)] != NO_TARGET
    assert example.num_tokens == len(example.chosen.input_ids) + len(example.rejected.input_ids)


def test_an_answer_may_be_a_call(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tools = [{"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}]
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    calling = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "1", "content": "noon"}
    first, second = read(
        tmp_path,
        {"prompt": [ASKED], "chosen": [calling], "rejected": "he", "tools": tools},
        {"prompt": [ASKED, calling, result], "chosen": "hell", "rejected": "he", "tools": tools},
    )
    labelling = make_labelling(tokenizer, dialect="tool_call")
    chosen = targets(label_pair(first, labelling).chosen.labels, tokenizer)
    assert '"name": "now"' in chosen and chosen.endswith("</tool_call><|im_end|>")
    assert targets(label_pair(second, labelling).chosen.labels, tokenizer) == "hell<|im_end|>"


def test_a_pair_with_twice_the_same_answer_is_left_out_aloud(tmp_path: Path) -> None:
    same = {"prompt": "Hi", "chosen": "he", "rejected": "he"}
    with pytest.warns(UserWarning, match="1 pair had twice the same answer .* line 2"):
        assert len(read(tmp_path, FORMS["strings"], same)) == 1


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"prompt": "Hi", "chosen": "Hello"}, "should be an object with 'prompt', 'chosen' and 'rejected', found"),
        (["Hi"], "found \\['Hi'\\]"),
        ({"chosen": "Hello", "rejected": "he"}, "it has no 'prompt', and its answers are strings"),
        ({"prompt": 3, "chosen": "Hello", "rejected": "he"}, "'prompt' should be a string or a list of messages"),
        ({"prompt": "Hi", "chosen": [], "rejected": "he"}, "'chosen' should be a string or a list of messages"),
        ({"prompt": "Hi", "chosen": " ", "rejected": "he"}, "'chosen': message 2, the assistant's, is empty"),
        ({"prompt": "Hi", "chosen": "Hello", "rejected": [ASKED]}, "'rejected' should begin with the assistant's"),
        ({"prompt": [ASKED, GOOD], "chosen": "Hello", "rejected": "he"}, "should follow a message of the user's"),
        ({"chosen": [GOOD], "rejected": [BAD]}, "should follow a message of the user's"),
        ({"prompt": [{"role": "judge", "content": "Hi"}], "chosen": "Hello", "rejected": "he"}, "role 'judge'"),
    ],
)
def test_mistakes_have_their_line(tmp_path: Path, item: Any, said: str) -> None:
    with pytest.raises(PromptError, match=rf"data\.jsonl, line 2: .*{said}"):
        read(tmp_path, FORMS["strings"], item)


def test_a_file_without_pairs_and_answers_that_are_too_long(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(SettingError, match="holds no preference"):
        read(tmp_path)
    turns = [GOOD, {"role": "user", "content": "tin"}, {"role": "assistant", "content": "x" * 99}]
    pairs = read(tmp_path, {"prompt": "Hi", "chosen": turns, "rejected": "he"})
    with pytest.raises(PromptError, match=r"line 1: with the chosen answer it has more than the 90 tokens"):
        label_pairs(pairs, make_labelling(tokenizer, max_length=90))
    with pytest.raises(PromptError, match="its first turn takes"):
        label_pairs(read(tmp_path, FORMS["strings"]), make_labelling(tokenizer, max_length=9))
