"""Who drafts is a setting of a model and of a call; replies stay what they are."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

import qwen7b
import tiny
from qwen7b import Qwen
from qwen7b.errors import SettingError
from qwen7b.generate.engine import Engine
from qwen7b.generate.request import Request
from qwen7b.loading import load_model
from qwen7b.model import Transformer
from qwen7b.text import load_tokenizer

PROMPT = "the inner hello the inner hello the"


@pytest.fixture(scope="module")
def plain(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="q8")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Who drafts each request from now on."""
    asked: list[str | None] = []
    original = Engine.add

    def add(self: Engine, request: Request) -> None:
        asked.append(request.speculate)
        original(self, request)

    monkeypatch.setattr(Engine, "add", add)
    return asked


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5, "seed": 3, "logprobs": 2}])
def test_replies_are_the_same_whoever_drafts(
    plain: Qwen, tiny_chat_checkpoint: Path, settings: dict[str, Any], asked: list[str | None]
) -> None:
    expected = plain.complete(PROMPT, max_new_tokens=40, **settings)
    by_name = qwen7b.load(tiny_chat_checkpoint, quantize="q8", speculate=tiny_chat_checkpoint)
    others: dict[str, Qwen] = {
        "ngram": qwen7b.load(tiny_chat_checkpoint, quantize="q8", speculate="ngram"),
        "ngram-pool": Qwen(plain.model, plain.tokenizer, generation=plain.generation, speculate="ngram-pool"),
        "model": Qwen(plain.model, plain.tokenizer, generation=plain.generation, speculate=by_name),
    }
    for qwen in (*others.values(), by_name):
        assert qwen.complete(PROMPT, max_new_tokens=40, **settings) == expected
        assert pickle.loads(pickle.dumps(qwen)).complete(PROMPT, max_new_tokens=40, **settings) == expected
    names = [name for name in [*others, "model"] for _ in range(2)]
    assert asked == [None, *names]


def test_a_call_may_choose_for_itself(plain: Qwen, asked: list[str | None]) -> None:
    speculating = Qwen(plain.model, plain.tokenizer, generation=plain.generation, speculate="ngram")
    for speculate in (None, "none", "ngram-pool"):
        speculating.complete(PROMPT, max_new_tokens=2, speculate=speculate)
        plain.chat(PROMPT, max_new_tokens=2, speculate=speculate)
    assert asked == ["ngram", None, None, None, "ngram-pool", "ngram-pool"]


def test_a_draft_model_by_its_name_is_loaded_once_and_rounded(
    tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qwen = qwen7b.load(tiny_chat_checkpoint, quantize="none", speculate=str(tiny_chat_checkpoint))
    draft = qwen._draft_model
    assert draft is not None and draft.weight_format == "q4" and qwen.model.weight_format is None
    monkeypatch.setattr("qwen7b.generate.loader.load_model", lambda *_, **__: pytest.fail("loaded again"))
    qwen.complete_batch([PROMPT, "hello"], max_new_tokens=3)
    assert qwen._draft_model is draft


def test_another_vocabulary_is_refused_token_by_token(
    plain: Qwen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tiny.write_tokenizer_json(tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace("<|im_start|>", "<|im_begin|>"))
    renamed = load_tokenizer(tmp_path / "tokenizer.json")
    assert renamed.vocab_size == plain.tokenizer.vocab_size
    other = Qwen(plain.model, renamed, name="other", chat=False)
    message = r"the same vocabulary, found id 2\d\d to be '<\|im_start\|>' here and '<\|im_begin\|>' in other: give a"
    with pytest.raises(SettingError, match=message):
        Qwen(plain.model, plain.tokenizer, speculate=other)
    few_rows: Transformer = tiny.model(vocab_rows=97)
    with pytest.raises(SettingError, match=r"which goes to id \d+, found one of 97 rows"):
        Qwen(plain.model, plain.tokenizer, speculate=few_rows)


def test_more_tokens_at_the_end_are_no_difference(plain: Qwen, tmp_path: Path) -> None:
    path = tiny.write_tokenizer_json(tmp_path / "tokenizer.json")
    document = json.loads(path.read_text())
    added = document["added_tokens"]
    added.append({**added[-1], "id": plain.tokenizer.vocab_size, "content": "<|more|>"})
    path.write_text(json.dumps(document))
    longer = load_tokenizer(path)
    assert longer.vocab_size == plain.tokenizer.vocab_size + 1
    assert longer.first_difference(plain.tokenizer) is plain.tokenizer.first_difference(longer) is None


@pytest.mark.parametrize("wrong", [3, True, "model", ["ngram"], "nowhere/at all"])
def test_other_values_are_refused(plain: Qwen, wrong: Any) -> None:
    with pytest.raises(SettingError, match="a call's speculate must be 'none', 'ngram' or 'ngram-pool'"):
        plain.complete(PROMPT, speculate=wrong)
    with pytest.raises(SettingError, match="speculate must be 'none', 'ngram', 'ngram-pool' or a model that is loaded"):
        Qwen(plain.model, plain.tokenizer, speculate=wrong)


@pytest.mark.parametrize("wrong", [5, True, ["ngram"]])
def test_what_is_no_drafter_is_refused_before_anything_is_read(wrong: Any) -> None:
    with pytest.raises(SettingError, match=r"^speculate must be 'none', .* or a model, loaded or by its name, found "):
        qwen7b.load("no/such model", speculate=wrong)


def test_a_mistyped_lookup_is_not_taken_for_a_model(tiny_chat_checkpoint: Path) -> None:
    with pytest.raises(SettingError, match=r"found 'ngrma': did you mean ngram\?"):
        qwen7b.load(tiny_chat_checkpoint, speculate="ngrma")


def test_another_vocabulary_is_refused_before_the_weights_are_read(
    tiny_chat_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_chat_checkpoint, other)
    path = other / "tokenizer.json"
    path.write_text(path.read_text().replace("<|im_end|>", "<|im_stop|>"))
    loaded: list[Any] = []

    def load_and_note(*args: Any, **options: Any) -> Transformer:
        loaded.append(options["quantize"])
        return load_model(*args, **options)

    monkeypatch.setattr("qwen7b.generate.loader.load_model", load_and_note)
    with pytest.raises(SettingError, match=r"found id \d+ to be '<\|im_end\|>' here and '<\|im_stop\|>' in .*other:"):
        qwen7b.load(tiny_chat_checkpoint, quantize="none", speculate=other)
    assert loaded == ["q4"]
