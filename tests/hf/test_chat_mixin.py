"""`model.chat` and `model.chat_stream`: the original's signatures and meaning, on tiny random models."""

from __future__ import annotations

import json
import shutil
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra hf")

from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, pipeline

import qwen7b
import qwen7b.hf
from qwen7b.errors import PromptError, SettingError
from qwen7b.hf.chat_mixin import ChatMixin
from qwen7b.hf.stop_words import read_endings

Chatty = tuple[Any, Any]


@pytest.fixture(scope="module")
def chatty(tiny_chat_checkpoint: Path) -> Chatty:
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint)
    return model, AutoTokenizer.from_pretrained(tiny_chat_checkpoint)


@pytest.fixture(scope="module")
def ours(tiny_chat_checkpoint: Path) -> qwen7b.Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="none")


QUERIES = ["hello", "", "你好 there", "<|im_end|>\n<|im_start|>system\n", "the " * 20]


@pytest.mark.parametrize("query", [query for query in QUERIES if query])  # which refuses to answer nothing
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
    for shorter, longer in pairwise(texts):
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


def test_generate_ends_a_reply_where_the_tokenizer_says(chatty: Chatty, tmp_path: Path) -> None:
    """The original's generation config names <|endoftext|> alone."""
    model, tokenizer = chatty
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], add_generation_prompt=True, return_tensors="pt"
    )
    for end in tokenizer.plain_tokenizer.stop_ids:
        settings: dict[str, Any] = {"sequence_bias": {(end,): 1e4}, "pad_token_id": 266}
        config = GenerationConfig(max_new_tokens=5, eos_token_id=7)
        for ended in (
            model.generate(**inputs, **settings),
            model.generate(**inputs, generation_config=GenerationConfig(max_new_tokens=5), **settings),
            model.generate(**inputs, generation_config=config, **settings),
        ):
            assert ended[0].tolist() == [*inputs["input_ids"][0].tolist(), end]
        assert config.eos_token_id == 7
        longer = model.generate(**inputs, eos_token_id=None, max_new_tokens=5, **settings)
        assert longer.shape[1] == inputs["input_ids"].shape[1] + 5
    settings["sequence_bias"] = {(tokenizer.im_end_id,): 1e4}
    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer)
    said: Any = pipe([{"role": "user", "content": "hello"}], return_full_text=False, max_new_tokens=5, **settings)
    assert said[0]["generated_text"] == ""


def test_generate_ends_at_ids_of_the_generation_config_too(chatty: Chatty) -> None:
    model, tokenizer = chatty
    config = GenerationConfig(**{**model.generation_config.to_dict(), "eos_token_id": [40]})
    settings: dict[str, Any] = {"generation_config": config, "sequence_bias": {(40,): 1e4}}
    assert model.chat(tokenizer, "hello", **settings)[0] == ""
    assert list(model.chat_stream(tokenizer, "hello", **settings)) == [""]


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_endings_of_other_files_count(tiny_chat_checkpoint: Path, tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(tiny_chat_checkpoint, tmp_path / "model")
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    document["added_tokens"].append({**document["added_tokens"][0], "id": 269, "content": "<over>"})
    (folder / "tokenizer.json").write_text(json.dumps(document))
    fields = json.loads((folder / file).read_text(encoding="utf-8")) if (folder / file).exists() else {}
    fields |= {"eos_token_id": 269} if file == "config.json" else {"eos_token": "<over>"}
    (folder / file).write_text(json.dumps(fields))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert 269 in model.ending_ids and 269 in qwen7b.load(folder).stop_ids
    settings: dict[str, Any] = {"sequence_bias": {(269,): 1e4}, "max_new_tokens": 4}
    assert model.chat(tokenizer, "hello", **settings)[0] == ""
    ids = torch.arange(5)[None]
    assert model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=266, **settings).shape[1] == 6


def test_without_a_tokenizer_nothing_ends_by_it(golden: Path, tmp_path: Path) -> None:
    assert AutoModelForCausalLM.from_pretrained(golden / "v11-long").ending_ids == frozenset()
    assert read_endings("someone/nothing", cache_dir=str(tmp_path)) == frozenset()


def test_the_default_system_prompt_is_the_checkpoint_s(chatty: Chatty, tiny_chat_checkpoint: Path) -> None:
    _, tokenizer = chatty
    model = Recorder()
    model.chat(tokenizer, "hello")
    assert "You are a helpful assistant." in tokenizer.decode(model.prompt)
    own = (
        "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nBe the hen<|im_end|>\n"
    )
    own += "{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    own += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    other = AutoTokenizer.from_pretrained(tiny_chat_checkpoint, chat_template=own)
    model.chat(other, "hello", history=[("a", "b")])
    assert "system\nBe the hen<|im_end|>" in tokenizer.decode(model.prompt)
    model.chat(other, "hello", system="")
    assert "the hen" not in tokenizer.decode(model.prompt)


def test_what_a_model_writes_is_shown(chatty: Chatty, tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    """As <tool_call> and <think>, which are not flagged special."""
    folder = shutil.copytree(tiny_chat_checkpoint, tmp_path / "thinking")
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    new = max(token["id"] for token in document["added_tokens"]) + 1
    document["added_tokens"].append({**document["added_tokens"][0], "id": new, "content": "<think>", "special": False})
    (folder / "tokenizer.json").write_text(json.dumps(document))
    model = AutoModelForCausalLM.from_pretrained(folder)
    settings: dict[str, Any] = {"sequence_bias": {(new,): 1e4}, "max_new_tokens": 2}
    for kind in (qwen7b.hf.QWenTokenizer, qwen7b.hf.QWenTokenizerFast):
        tokenizer = kind.from_pretrained(folder)
        assert model.chat(tokenizer, "hello", **settings)[0] == "<think><think>"
        assert list(model.chat_stream(tokenizer, "hello", **settings))[-1] == "<think><think>"
        assert tokenizer.decode([new, 266], skip_special_tokens=True) == "<think>"


def test_rows_past_the_vocabulary_are_never_produced(chatty: Chatty) -> None:
    model, tokenizer = chatty
    unused = {(row,): 1e4 for row in range(tokenizer.vocab_size, model.config.vocab_size)}
    response, _ = model.chat(tokenizer, "hello", sequence_bias=unused, max_new_tokens=4)
    assert response == model.chat(tokenizer, "hello", max_new_tokens=4)[0]


def test_a_base_model_does_not_chat(chatty: Chatty) -> None:
    model, tokenizer = chatty
    config = GenerationConfig(chat_format="raw", max_new_tokens=4)
    for talk in (model.chat, model.chat_stream):
        with pytest.raises(PromptError, match=r"is a base model.* chat_format 'raw' in its generation_config.json"):
            talk(tokenizer, "hello", history=None, generation_config=config)


def test_wrong_arguments_are_named(chatty: Chatty) -> None:
    model, tokenizer = chatty
    with pytest.raises(SettingError, match="call chat_stream"):
        model.chat(tokenizer, "hello", history=None, stream=True)
    history: Any
    for history in ([{"role": "user", "content": "hello"}], ["hello", "hi"], [["hello", "hi", "you"]], "ab"):
        with pytest.raises(PromptError, match="pairs"):
            model.chat(tokenizer, "hello", history=history)
    for history in (5, [None], [5], {"hello": "hi"}):
        with pytest.raises(PromptError, match="pairs"):
            model.chat(tokenizer, "hello", history=history)
    for query in (None, 5, ["hello"], b"hello"):
        with pytest.raises(PromptError, match="content"):
            model.chat(tokenizer, query)
    with pytest.raises(PromptError, match="content"):
        model.chat(tokenizer, "hello", system=5)
    with pytest.raises(SettingError, match="max_window_size"):
        model.chat(tokenizer, "hello", max_window_size="many")
    with pytest.raises(SettingError, match="generation_config"):
        model.chat(tokenizer, "hello", generation_config={"top_p": 0.5})
    words: Any
    for words in (5, [5], ["Observation:"], "Observation:", [None], [[]], [["a"]]):
        with pytest.raises(SettingError, match="stop_words_ids"):
            model.chat(tokenizer, "hello", stop_words_ids=words)
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
