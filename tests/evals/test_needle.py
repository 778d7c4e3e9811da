"""The needle: prompts of exact length with the fact where it should be, and what becomes of replies."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import qwen7b
import tiny
from qwen7b.errors import PromptError, SettingError
from qwen7b.evals import Retrieval, Subject, measure_retrieval
from qwen7b.evals import needle as module
from qwen7b.evals import subject as subject_module
from qwen7b.evals.needle import REPLY_TOKENS, Haystack, Trial
from qwen7b.model import Transformer
from qwen7b.text import Tokenizer

ENGLISH = "".join(f"the hell in there is no {word}. " for word in ("heat", "sin", "tin") * 100)
CHINESE = "你好你好，你好吗？他说你好。" * 100


@pytest.fixture
def english(tmp_path: Path) -> Path:
    file = tmp_path / "english.txt"
    file.write_text(ENGLISH, encoding="utf-8")
    return file


def haystack_of(model: Path, text: str, *, is_chat: bool) -> Haystack:
    return Haystack(text, qwen7b.load_tokenizer(model), is_chat=is_chat)


def measure(model: Path, haystack: Path, *, testing: Any = None, **about: Any) -> list[Retrieval]:
    about = {"lengths": [400], **about}
    return list(measure_retrieval(Subject(model, **about), haystack, **(testing or {})))


@pytest.mark.parametrize("is_chat", [True, False])
@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
@pytest.mark.parametrize("length", [400, 401, 1000])
@pytest.mark.parametrize("depth", [0, 33, 100])
def test_a_prompt_has_its_length_and_the_fact_its_depth(
    tiny_chat_checkpoint: Path, text: str, length: int, depth: int, is_chat: bool
) -> None:
    haystack = haystack_of(tiny_chat_checkpoint, text, is_chat=is_chat)
    trial = haystack.trial(0, seed=7, longest=1000)
    prompt = haystack.prompt(trial, length=length, depth=depth)
    assert len(prompt) == length - REPLY_TOKENS
    shown = haystack.tokenizer.decode(prompt)
    fact = haystack.wording.fact.format(thing=trial.thing, number=trial.number)
    assert shown.count(trial.number) == 1 and shown.count(fact) == 1
    if is_chat:
        assert shown.startswith("<|im_start|>system\n") and shown.endswith("<|im_end|>\n<|im_start|>assistant\n")
        shown = shown.partition("<|im_start|>user\n")[2]
    before, _, after = shown.partition(fact)
    assert not before or before.rstrip().endswith((".", "。", "？"))
    ending = haystack.wording.question if is_chat else haystack.wording.cue
    after, _, end = after.partition(ending.format(thing=trial.thing))
    assert end == ("<|im_end|>\n<|im_start|>assistant\n" if is_chat else "")
    tokens_before, tokens_after = (len(haystack.tokenizer.encode(part)) for part in (before, after))
    longest_sentence = 60  # tokens
    assert 0 <= (tokens_before + tokens_after) * depth / 100 - tokens_before <= longest_sentence


def test_a_rendered_format_that_joins_newlines_has_room_for_a_haystack(tmp_path: Path) -> None:
    tokenizer = json.loads(tiny.write_tokenizer_json(tmp_path / "tokenizer.json").read_text("utf-8"))
    vocab, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    for word, newlines, halves in (("in", "ĊĊ", "Ċ Ċ"), ("er", "ĊĊĊ", "ĊĊ Ċ")):
        vocab[newlines] = vocab.pop(word)
        merges[merges.index(" ".join(word))] = halves
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    template = "{% for message in messages %}USER:\n{{ message['content'] }}{% endfor %}ASSISTANT:"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}), "utf-8")
    assert len(qwen7b.load_tokenizer(tmp_path / "tokenizer.json").encode("\n\n\n")) == 1
    haystack = haystack_of(tmp_path, ENGLISH, is_chat=True)
    prompt = haystack.prompt(haystack.trial(0, seed=0, longest=500), length=500, depth=50)
    shown = haystack.tokenizer.decode(prompt)
    assert len(prompt) == 500 - REPLY_TOKENS
    assert re.match(r"USER:\n ?(the|there|is|no|hell|heat|sin|tin|in)\b", shown)
    assert re.search(r"[^\n]\n\nWhat is the secret number .*only\.ASSISTANT:$", shown)


@pytest.mark.parametrize("is_chat", [True, False])
def test_a_model_that_wants_bos_gets_it(tiny_chat_checkpoint: Path, is_chat: bool) -> None:
    vocabulary = qwen7b.load_tokenizer(tiny_chat_checkpoint).vocabulary
    settings = replace(vocabulary.settings, bos="<|endoftext|>")
    haystack = Haystack(ENGLISH, Tokenizer(replace(vocabulary, settings=settings)), is_chat=is_chat)
    prompt = haystack.prompt(haystack.trial(0, seed=0, longest=500), length=500, depth=50)
    assert prompt.count(266) == 1 and prompt[0] == 266 and len(prompt) == 500 - REPLY_TOKENS


def test_the_language_of_the_text_is_that_of_the_question(tiny_chat_checkpoint: Path) -> None:
    for text, question in ((ENGLISH, "What is the secret number"), (CHINESE, "的秘密号码是多少")):
        haystack = haystack_of(tiny_chat_checkpoint, text, is_chat=True)
        prompt = haystack.prompt(haystack.trial(0, seed=0, longest=500), length=500, depth=50)
        assert question in haystack.tokenizer.decode(prompt)


def test_trials_differ_and_are_the_same_for_the_same_seed(tiny_chat_checkpoint: Path) -> None:
    haystack = haystack_of(tiny_chat_checkpoint, ENGLISH, is_chat=True)

    def trials(seed: int) -> list[Trial]:
        return [haystack.trial(number, seed=seed, longest=400) for number in range(5)]

    assert trials(1) == trials(1)
    assert len({trial.number for trial in trials(1) + trials(2)}) == 10


def test_accuracy_is_the_share_of_replies_with_the_number(
    tiny_chat_checkpoint: Path, english: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    haystack = haystack_of(tiny_chat_checkpoint, ENGLISH, is_chat=True)
    numbers = [haystack.trial(number, seed=0, longest=400).number for number in range(4)]
    replies = iter([f"It is {numbers[0]}.", f"{numbers[1][:3]},{numbers[1][3:]}", "no idea", numbers[0]])
    monkeypatch.setattr(module, "_reply", lambda *_, **__: next(replies))
    (result,) = measure(tiny_chat_checkpoint, english, testing={"depths": [50], "trials": 4})
    assert (result.accuracy, result.trials, result.length, result.depth) == (0.5, 4, 400, 50)
    assert result.replies[2] == "no idea"


def test_replies_are_those_of_the_engine_and_are_kept(
    tiny_chat_checkpoint: Path, english: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    testing = {"depths": [100, 0], "trials": 2, "resume": tmp_path / "kept.jsonl"}
    about: dict[str, Any] = {"lengths": [500, 400], "methods": ["none", "ntk+logn+window"]}
    results = measure(tiny_chat_checkpoint, english, testing=testing, **about)
    places = [(result.method, result.length, result.depth) for result in results]
    assert places == [(m, n, d) for m in about["methods"] for n in (400, 500) for d in (0, 100)]
    assert all(len(result.replies) == 2 and 0 <= result.accuracy <= 1 for result in results)

    qwen = qwen7b.load(tiny_chat_checkpoint, quantize="none")
    qwen.model.config = Subject(tiny_chat_checkpoint, lengths=[400]).configs["none", 400]
    haystack = haystack_of(tiny_chat_checkpoint, ENGLISH, is_chat=True)
    prompt = haystack.prompt(haystack.trial(1, seed=0, longest=500), length=400, depth=0)
    reply = list(prompt)
    while len(reply) < 400 and reply[-1] not in qwen.stop_ids:
        cache = qwen.model.new_cache(max_length=400, ntk="reserve")
        with torch.inference_mode():
            reply.append(int(qwen.model(torch.tensor([reply]), cache=cache)[0, -1, :269].argmax()))
    said = [token_id for token_id in reply[len(prompt) :] if token_id not in qwen.stop_ids]
    assert results[0].replies[1] == qwen.tokenizer.decode(said) != ""

    monkeypatch.setattr(subject_module, "load_model", None)
    assert measure(tiny_chat_checkpoint, english, testing=testing, **about) == results


def test_mistakes_are_found_before_weights_are_read(
    tiny_chat_checkpoint: Path, english: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_module, "load_model", None)
    unbroken = tmp_path / "unbroken.txt"
    unbroken.write_text("no end of a sentence " * 400)
    (tmp_path / "empty").touch()
    for haystack, about, error, message in [
        (tmp_path / "nowhere", {}, SettingError, "nowhere does not exist"),
        (tmp_path / "empty", {}, PromptError, "0 tokens, fewer than the length 400"),
        (unbroken, {}, PromptError, "1 sentence in"),
        (english, {"lengths": [400, 1 << 20]}, PromptError, "fewer than the length 1048576: lower the length"),
        (
            english,
            {"lengths": [50]},
            PromptError,
            "a length of 50 leaves no room for a haystack: use a length of at least",
        ),
        (english, {"methods": ["rope"]}, SettingError, "'rope'"),
        (english, {"testing": {"depths": [101]}}, SettingError, "a depth must be a whole number from 0 to 100"),
        (english, {"testing": {"trials": 0}}, SettingError, "trials must be a whole number of at least 1"),
    ]:
        with pytest.raises(error, match=message):
            measure(tiny_chat_checkpoint, haystack, **about)


@pytest.mark.parametrize("chat", [True, False])
def test_whether_it_chats_can_be_said(
    tiny_chat_checkpoint: Path, english: Path, monkeypatch: pytest.MonkeyPatch, chat: bool
) -> None:
    class Asked(Exception):
        pass

    def ask(text: str, tokenizer: Any, *, is_chat: bool) -> Haystack:
        raise Asked(is_chat)

    monkeypatch.setattr("qwen7b.evals.needle.Haystack", ask)
    with pytest.raises(Asked, match=str(chat)):
        measure(tiny_chat_checkpoint, english, testing={"chat": chat}, lengths=[400])


def test_what_a_trial_s_prompts_begin_with_alike_is_read_once(
    tiny_chat_checkpoint: Path, english: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, original = [], Transformer.passes

    def counted(self: Transformer, new_ids: Sequence[torch.Tensor], **options: Any) -> Any:
        rows.append(sum(map(len, new_ids)))
        return original(self, new_ids, **options)

    monkeypatch.setattr(Transformer, "passes", counted)
    measure(tiny_chat_checkpoint, english, testing={"depths": [50, 100], "trials": 2})
    prompt, reply = 400 - REPLY_TOKENS, REPLY_TOKENS - 1
    assert sum(rows) <= 2 * (2 * prompt - prompt // 2 + 60 + 2 * reply)  # a fact lies up to a sentence before its depth
