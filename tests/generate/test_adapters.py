"""A model loaded with an adapter talks as the adapted one does, and keeps nothing of it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

import qwen7b
import tiny
from qwen7b.adapters.adapted_modules import adapter_of, add_adapter
from qwen7b.adapters.adapter_files import write_adapter
from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings
from qwen7b.batch import answer_requests
from qwen7b.config import Family
from qwen7b.errors import CheckpointError, ModelNotFoundError, SettingError
from random_adapters import write_random_adapter


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny.write_folder(tmp_path / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    settings = LoraSettings(targets=DEFAULT_TARGETS[Family.QWEN2], rank=8, alpha=64)
    model = qwen7b.load_model(base, dtype="float32")
    add_adapter(model, settings)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    write_adapter(tmp_path / "adapter", adapter_of(model, settings), base=str(base))
    return tmp_path / "adapter"


def test_load_with_an_adapter(base: Path, adapter: Path) -> None:
    expected = qwen7b.load_model(base, dtype="float32", adapter=adapter)(tiny.IDS)
    for settings in ({"dtype": "float32"}, {"quantize": "none"}):
        qwen = qwen7b.load(base, adapter=adapter, **settings)
        torch.testing.assert_close(qwen.model(tiny.IDS), expected)
        assert qwen.name == f"{base} with {adapter}" and qwen.source == str(base)
    packed = qwen7b.load(base, adapter=adapter, quantize="q8")
    assert packed.model.weights_file is None and packed.model.weight_format == "q8"
    plain = qwen7b.load(base, quantize="q8").model(tiny.IDS)
    assert not torch.allclose(packed.model(tiny.IDS), plain, atol=0.1)


def test_prompts_of_another_adapter_are_not_taken(base: Path, adapter: Path, tmp_path: Path) -> None:
    question = "the inner " * 12
    plain = qwen7b.load(base, dtype="float32", prompt_cache=tmp_path / "prompts")
    before = plain.complete(question, max_new_tokens=8, temperature=0).text
    adapted = qwen7b.load(base, dtype="float32", adapter=adapter)
    cached = qwen7b.load(base, dtype="float32", adapter=adapter, prompt_cache=tmp_path / "prompts")
    expected = adapted.complete(question, max_new_tokens=8, temperature=0).text
    assert cached.complete(question, max_new_tokens=8, temperature=0).text == expected != before


def test_what_is_no_adapter_is_refused_before_weights_are_read(base: Path) -> None:
    with pytest.raises(CheckpointError, match="so it is no adapter"):
        qwen7b.load(base, adapter=base)


@pytest.fixture
def several(base: Path, tmp_path: Path) -> qwen7b.Qwen:
    config = qwen7b.load_model(base, dtype="float32").config
    folders = {name: write_random_adapter(tmp_path / name, config, seed=seed) for seed, name in enumerate("ab")}
    return qwen7b.load(base, dtype="float32", adapters=folders, prompt_cache=tmp_path / "prompts", chat=True)


GREEDY: Any = {"max_new_tokens": 8, "temperature": 0}


def test_each_call_chooses_an_adapter(several: qwen7b.Qwen, base: Path, tmp_path: Path) -> None:
    question = "the inner " * 12
    replies = {name: several.complete(question, adapter=name, **GREEDY) for name in ("a", "b", "none")}
    assert len({tuple(reply.token_ids) for reply in replies.values()}) == 3
    for name, reply in replies.items():
        adapter = None if name == "none" else tmp_path / name
        merged = qwen7b.load(base, dtype="float32", adapter=adapter)
        assert merged.complete(question, **GREEDY).token_ids == reply.token_ids
    assert several.complete(question, **GREEDY) == replies["none"]
    assert several.complete_batch([question] * 2, adapter="a", **GREEDY) == [replies["a"]] * 2
    assert several.complete_samples(question, n=2, adapter="b", **GREEDY) == [replies["b"]] * 2
    assert [*several.stream("hello", adapter="a", **GREEDY)][-1].reply == several.chat("hello", adapter="a", **GREEDY)
    # Another start finds the prompts of each adapter on the disk, and of no other.
    again = qwen7b.load(base, dtype="float32", adapters={"c": tmp_path / "a"}, prompt_cache=tmp_path / "prompts")
    assert again.complete(question, adapter="c", **GREEDY) == replies["a"]
    assert again.complete(question, **GREEDY) == replies["none"]


def test_adapters_are_added_and_removed(several: qwen7b.Qwen, tmp_path: Path) -> None:
    pieces = several.stream("hello", adapter="a", max_new_tokens=8, temperature=0)
    expected = several.chat("hello", adapter="a", **GREEDY)
    next(pieces)
    several.remove_adapter("a")
    assert [*pieces][-1].reply == expected
    with pytest.raises(SettingError, match="there is no adapter 'a'; those of this model are 'b'"):
        several.chat("hello", adapter="a", **GREEDY)
    several.add_adapter("again", tmp_path / "a")
    assert several.chat("hello", adapter="again", **GREEDY) == expected
    assert list(several.adapters) == ["b", "again"]


def test_requests_of_a_file_name_their_adapters(several: qwen7b.Qwen) -> None:
    requests = [{"prompt": "hello", "adapter": name, "temperature": 0} for name in ("a", "b", None, "none", "c")]
    answers = sorted(answer_requests(several, requests, max_new_tokens=8, adapter="b"), key=lambda each: each["index"])
    by = [several.chat("hello", adapter=name, **GREEDY).text for name in ("a", "b", "b", "none")]
    assert [answer.get("reply") for answer in answers] == [*by, None]
    assert "there is no adapter 'c'" in answers[4]["error"]["message"]
    with pytest.raises(SettingError, match="there is no adapter 'c'"):
        answer_requests(several, requests, adapter="c")


def test_what_cannot_be_loaded_is_refused_before_weights_are_read(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen7b.generate.loader.load_model", lambda *_, **__: pytest.fail("weights were read"))
    with pytest.raises(SettingError, match="give one of the two"):
        qwen7b.load(base, adapter=base, adapters={"a": base})
    with pytest.raises(SettingError, match="adapters must map names to folders"):
        qwen7b.load(base, adapters=str(base))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="so it is no adapter"):
        qwen7b.load(base, adapters={"a": base})
    with pytest.raises(ModelNotFoundError):
        qwen7b.load(base, adapters={"a": tmp_path / "nowhere"})


def test_scores_and_vectors_are_an_adapters_too(several: qwen7b.Qwen, base: Path, tmp_path: Path) -> None:
    config = several.config
    several.add_adapter("rows", write_random_adapter(tmp_path / "rows", config, token_ids=(104, 110), size=0.5))
    asked: Any = (["the hell", "in"], [[" he", " th"], [" in"]])
    plain = several.score(*asked)
    for name in ("a", "rows"):
        merged = qwen7b.load(base, dtype="float32", adapter=tmp_path / name)
        found, expected = several.score(*asked, adapter=name), merged.score(*asked)
        for one, other, without in zip(*map(chain.from_iterable, (found, expected, plain)), strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-3) and abs(one.logprob - without.logprob) > 1e-2
        torch.testing.assert_close(several.embed(["the hell"], adapter=name), merged.embed(["the hell"]))
    with pytest.raises(SettingError, match="there is no adapter 'c'"):
        several.score(*asked, adapter="c")
