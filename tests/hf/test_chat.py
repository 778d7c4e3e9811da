"""`model.chat` and `model.chat_stream`: the original's signatures and meaning, on tiny random models."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra hf")

from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

import qwen7b
import qwen7b.hf
from qwen7b.errors import PromptError, SettingError
from qwen7b.hf.chat import ChatMixin

Chatty = tuple[Any, Any]


@pytest.fixture(scope="module")
def chatty(tiny_chat_checkpoint: Path) -> Chatty:
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint)
    return model, AutoTokenizer.from_pretrained(tiny_chat_checkpoint)


@pytest.fixture(scope="module")
def ours(tiny_chat_checkpoint: Path) -> qwen7b.Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="none")


QUERIES = ["hello", "", "你好 there", "<|im_end|>\n<|im_start|>system\n", "the " * 20]


@pytest.mark.parametrize("query", QUERIES)
def test_chat_equals_our_engine(chatty: Chatty, ours: qwen7b.Qwen, query: str) -> None:
    model, tokenizer = chatty
    response, history = model.chat(tokenizer, query, history=None)
    assert response == ours.chat(query, ntk="original").text.strip()
    assert history == [(query, response)]
    messages = [
        {"role": "system", "content": "in the hell"},
        {"role": "user", "content": query},
        {"role": "assistant", "content": response},
        {"role": "user", "content": "er"},
    ]
    second, longer = model.chat(tokenizer, "er", history, "in the hell")
    assert second == ours.chat(messages, ntk="original").text.strip()
    assert longer == [*history, ("er", second)] and len(history) == 1


def test_a_turn_is_kept_out_of_the_history_if_so_asked(chatty: Chatty) -> None:
    model, tokenizer = chatty
    response, history = model.chat(tokenizer, "hello", [["a", "b"]], append_history=True, stream=False)
    assert history == [("a", "b"), ("hello", response)]
    assert model.chat(tokenizer, "hello", [["a", "b"]], append_history=False) == (response, [("a", "b")])
    assert model.chat(tokenizer, "hello", None, append_history=False)[1] == []


@pytest.mark.parametrize("query", QUERIES)
def test_the_stream_grows_into_the_response(chatty: Chatty, query: str) -> None:
    model, tokenizer = chatty
    texts = list(model.chat_stream(tokenizer, query, history=[["a", "b"]]))
    assert texts and texts[-1].strip() == model.chat(tokenizer, query, history=[["a", "b"]])[0]
    for shorter, longer in zip(texts, texts[1:], strict=False):
        assert longer.startswith(shorter) and longer != shorter


class Recorder(ChatMixin):
    """A model that says nothing, and keeps the prompt."""

    device = torch.device("cpu")
    generation_config = GenerationConfig(chat_format="chatml")
    name_or_path = "recorder"

    def generate(self, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        self.prompt = input_ids[0].tolist()
        return input_ids


def test_prompts_equal_the_original(qwen_chat_folder: Path, golden: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(qwen_chat_folder), Recorder()
    lines = (golden / "text.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [case for line in lines if (case := json.loads(line))["kind"] == "chat"]
    assert len(cases) >= 40
    for case in cases:
        settings = {"system": case["system"], "max_window_size": case["history_token_limit"]}
        _, history = model.chat(tokenizer, case["query"], case["history"], **settings)
        assert model.prompt == case["ids"]
        assert history == [*map(tuple, case["history"]), (case["query"], "")]


def test_both_tokenizers_chat_alike(chatty: Chatty, tiny_chat_checkpoint: Path) -> None:
    model, tokenizer = chatty
    fast = qwen7b.hf.QWenTokenizerFast.from_pretrained(tiny_chat_checkpoint)
    for query in QUERIES:
        assert model.chat(fast, query) == model.chat(tokenizer, query)


def test_arguments_of_the_caller_stay_as_they_are(chatty: Chatty) -> None:
    model, tokenizer = chatty
    history, words = [["hello", "the"]], [[104, 101]]
    config = GenerationConfig(max_new_tokens=4, chat_format="chatml", max_window_size=100)
    before = config.to_dict()
    model.chat(
        tokenizer, "in", history=history, stop_words_ids=words, generation_config=config, top_k=3, do_sample=True
    )
    assert (history, words, config.to_dict()) == ([["hello", "the"]], [[104, 101]], before)


def test_old_turns_are_dropped_whole(chatty: Chatty) -> None:
    model, tokenizer = chatty
    history = [("the " * 40, "hello"), ("in", "er")]
    short = model.chat(tokenizer, "hell", history=history[1:])[0]
    assert model.chat(tokenizer, "hell", history=history, max_window_size=60)[0] == short
    assert model.chat(tokenizer, "hell", history=history, max_window_size=600)[0] != short
    config = GenerationConfig(**{**model.generation_config.to_dict(), "max_window_size": 60})
    response, longer = model.chat(tokenizer, "hell", history=history, generation_config=config)
    assert response == short and len(longer) == 3


def test_a_stop_word_ends_the_response_with_itself(chatty: Chatty) -> None:
    model, tokenizer = chatty
    plain = tokenizer.plain_tokenizer
    prompt = qwen7b.chat_prompt(plain, [{"role": "user", "content": "hello"}])
    ids = model.generate(torch.tensor([prompt]), max_new_tokens=8, suppress_tokens=list(range(266, 320)))
    made = ids[0, len(prompt) :].tolist()
    word = made[2:4]
    end = next(at for at in range(len(made)) if made[at : at + 2] == word) + 2
    settings: dict[str, Any] = {"stop_words_ids": [word], "suppress_tokens": list(range(266, 320))}
    assert model.chat(tokenizer, "hello", **settings)[0] == plain.decode(made[:end]).strip()
    assert list(model.chat_stream(tokenizer, "hello", **settings))[-1] == plain.decode(made[:end])


@pytest.mark.parametrize("control", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
def test_each_control_token_ends_the_response(chatty: Chatty, control: str) -> None:
    model, tokenizer = chatty
    token_id = tokenizer.special_tokens[control]
    bias = {(token_id,): 1e4}
    assert model.chat(tokenizer, "hello", sequence_bias=bias) == ("", [("hello", "")])
    assert list(model.chat_stream(tokenizer, "hello", sequence_bias=bias)) == [""]


def test_rows_past_the_vocabulary_are_never_produced(chatty: Chatty) -> None:
    model, tokenizer = chatty
    unused = {(row,): 1e4 for row in range(tokenizer.vocab_size, model.config.vocab_size)}
    response, _ = model.chat(tokenizer, "hello", sequence_bias=unused, max_new_tokens=4)
    assert response == model.chat(tokenizer, "hello", max_new_tokens=4)[0]


def test_a_base_model_does_not_chat(chatty: Chatty) -> None:
    model, tokenizer = chatty
    config = GenerationConfig(chat_format="raw", max_new_tokens=4)
    for talk in (model.chat, model.chat_stream):
        with pytest.raises(PromptError, match="is a base model"):
            talk(tokenizer, "hello", history=None, generation_config=config)


def test_wrong_arguments_are_named(chatty: Chatty) -> None:
    model, tokenizer = chatty
    with pytest.raises(SettingError, match="call chat_stream"):
        model.chat(tokenizer, "hello", history=None, stream=True)
    for history in ([{"role": "user", "content": "hello"}], ["hello", "hi"], [["hello", "hi", "you"]], "ab"):
        with pytest.raises(PromptError, match="pairs"):
            model.chat(tokenizer, "hello", history=history)
    with pytest.raises(SettingError, match="QWenTokenizer"):
        model.chat(object(), "hello", history=None)


def test_an_abandoned_stream_ends_its_thread(chatty: Chatty) -> None:
    model, tokenizer = chatty
    before = threading.active_count()
    stream = model.chat_stream(tokenizer, "hello", max_new_tokens=5000, suppress_tokens=[266, 267, 268])
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_an_error_in_the_stream_reaches_the_caller(chatty: Chatty) -> None:
    model, tokenizer = chatty
    before = threading.active_count()
    with pytest.raises(ValueError, match="beam"):
        list(model.chat_stream(tokenizer, "hello", num_beams=2))
    assert threading.active_count() == before
