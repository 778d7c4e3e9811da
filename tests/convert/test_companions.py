"""What goes along with the weights: vocabularies, chat templates, generation settings, in every target's own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import qwen7b
import tiny
from converting import read, write_source
from qwen7b.checkpoint import open_checkpoint
from qwen7b.convert import convert
from qwen7b.convert.planning import make_plan
from qwen7b.convert.target_format import TargetFormat
from qwen7b.errors import CheckpointError
from qwen7b.files.gguf_header import read_gguf_header
from qwen7b.text import load_tokenizer
from qwen7b.text.chatml import CHAT_TEMPLATE
from qwen7b.text.export import QWEN_SHA256

BASE = {"chat_format": "raw", "eos_token_id": 266}


def test_generation_settings_go_along(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen")
    convert(source, tmp_path / "qwen", to="qwen")
    assert read(tmp_path / "qwen", "generation_config.json") == {
        "chat_format": "chatml",
        "bos_token_id": 266,
        "do_sample": True,
        "eos_token_id": [268, 266],
        "max_new_tokens": 24,
        "max_window_size": 6144,
        "pad_token_id": 266,
        "top_p": 0.8,
        "top_k": 0,
        "repetition_penalty": 1.1,
    }
    convert(source, tmp_path / "qwen2", to="qwen2")
    assert read(tmp_path / "qwen2", "generation_config.json") == {
        name: value
        for name, value in read(tmp_path / "qwen", "generation_config.json").items()
        if name not in ("chat_format", "max_window_size")
    }
    report = convert(source, tmp_path / "model.gguf", to="gguf")
    assert "Generation settings: top_p 0.8, top_k 0, repetition_penalty 1.1, max_new_tokens 24." in report.lost


def test_penalties_alone_leave_a_model_greedy(tmp_path: Path) -> None:
    penalties = {"repetition_penalty": 1.1, "presence_penalty": 0.5, "frequency_penalty": -0.5}
    source = write_source(tmp_path / "source", "qwen", generation={**BASE, **penalties})
    convert(source, tmp_path / "qwen2", to="qwen2")
    written = read(tmp_path / "qwen2", "generation_config.json")
    assert written["do_sample"] is False
    assert {name: written[name] for name in penalties} == penalties


@pytest.mark.parametrize("to", ["qwen", "qwen2", "gguf"])
@pytest.mark.parametrize("is_chat", [True, False])
def test_chat_or_base_stays_so(tmp_path: Path, to: Any, is_chat: bool) -> None:
    settings = {} if is_chat else {"generation": BASE}
    source = write_source(tmp_path / "source", "qwen", **settings)
    target = tmp_path / ("target.gguf" if to == "gguf" else "target")
    convert(source, target, to=to)
    loaded = qwen7b.load(target, quantize="none")
    assert loaded.is_chat == is_chat
    assert loaded.stop_ids == {266, 267, 268}
    if to == "gguf":
        metadata = read_gguf_header(target).metadata
        assert metadata["tokenizer.ggml.eos_token_id"] == (268 if is_chat else 266)
        assert metadata.get("tokenizer.chat_template") == (CHAT_TEMPLATE if is_chat else None)
    else:
        assert read(target, "tokenizer_config.json").get("chat_template") == (CHAT_TEMPLATE if is_chat else None)
        assert read(target, "tokenizer_config.json")["eos_token"] == ("<|im_end|>" if is_chat else "<|endoftext|>")
        stop = read(target, "generation_config.json")["eos_token_id"]
        assert stop == ([268, 266] if is_chat else 266)


@pytest.mark.parametrize("place", ["tokenizer_config.json", "several", "chat_template.jinja"])
def test_the_sources_own_chat_template_goes_along(tmp_path: Path, place: str) -> None:
    source = write_source(tmp_path / "source", "qwen2")
    if place == "chat_template.jinja":
        (source / place).write_text("{{ mine }}")
    else:
        template: Any = "{{ mine }}"
        if place == "several":
            template = [{"name": "tool", "template": "{{ not }}"}, {"name": "default", "template": template}]
        (source / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    convert(source, tmp_path / "model.gguf", to="gguf")
    convert(tmp_path / "model.gguf", tmp_path / "qwen", to="qwen")
    convert(tmp_path / "qwen", tmp_path / "qwen2", to="qwen2")
    assert read(tmp_path / "qwen2", "tokenizer_config.json")["chat_template"] == "{{ mine }}"


@pytest.mark.parametrize("to", ["qwen", "qwen2", "gguf"])
def test_tokens_go_along(tmp_path: Path, to: Any) -> None:
    source, target = write_source(tmp_path / "source", "qwen2"), tmp_path / "target"
    document = read(source, "tokenizer.json")
    document["added_tokens"][1]["special"] = False
    (source / "tokenizer.json").write_text(json.dumps(document))
    if to == "gguf":
        convert(source, tmp_path / "model.gguf", to="gguf")
        source, to = tmp_path / "model.gguf", "qwen2"
    convert(source, target, to=to)
    before, after = load_tokenizer(source), load_tokenizer(target)
    assert after.vocabulary.ids == before.vocabulary.ids and after.control_tokens == before.control_tokens
    added = read(target, "tokenizer.json")["added_tokens"]
    assert [token["special"] for token in added] == [True, False, True]
    decoder = read(target, "tokenizer_config.json")["added_tokens_decoder"]
    assert decoder.keys() == {"266", "267", "268"} and not decoder["267"]["special"]


def test_transformers_reads_the_tokenizer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    for to in ("qwen2", "qwen"):
        convert(write_source(tmp_path / f"source-{to}", "qwen"), tmp_path / to, to=to)
        ours = load_tokenizer(tmp_path / to)
        theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / to)
        assert (theirs.eos_token, theirs.pad_token) == ("<|im_end|>", "<|endoftext|>")
        text = "the hell 你 in there\n  it is"
        assert theirs.encode(text) == ours.encode(text)
        messages = [{"role": "user", "content": text}]
        rendered = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert rendered == qwen7b.chat_prompt(ours, messages)


def test_vocab_json_and_merges_say_the_same(tmp_path: Path) -> None:
    convert(write_source(tmp_path / "source", "qwen"), tmp_path / "target", to="qwen2")
    both = load_tokenizer(tmp_path / "target" / "vocab.json"), load_tokenizer(tmp_path / "target" / "tokenizer.json")
    assert both[0].vocabulary.ids == both[1].vocabulary.ids and both[0].vocabulary.ranks == both[1].vocabulary.ranks
    assert both[0].control_tokens == both[1].control_tokens


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    tensors = {**tiny.qwen_tensors()}
    for name in ("transformer.wte.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:200].clone()
    source = write_source(tmp_path / "source", "qwen", config={**tiny.V11_CONFIG, "vocab_size": 200}, tensors=tensors)
    with pytest.raises(CheckpointError, match="they do not belong together"):
        convert(source, tmp_path / "target", to="qwen2")


@pytest.mark.demo
def test_qwens_own_vocabulary_becomes_the_original_file(demo_gguf: Path) -> None:
    """Qwen2.5's 151,643 tokens are first-generation Qwen's; of the control tokens, the first three are."""
    import hashlib

    plan = make_plan(
        open_checkpoint(demo_gguf), model_name="demo", target_name="target", to=TargetFormat.QWEN, type=None
    )
    assert hashlib.sha256(plan.other_files["qwen.tiktoken"]).hexdigest() == QWEN_SHA256
    assert json.loads(plan.other_files["tokenizer_config.json"])["tokenizer_class"] == "QWenTokenizer"
    assert "tokenizer.json" not in plan.other_files
    assert json.loads(plan.other_files["generation_config.json"])["eos_token_id"] == [151645, 151643]


def test_licences_go_along(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen")
    (source / "LICENSE").write_text("do good")
    report = convert(source, tmp_path / "target", to="qwen2")
    assert (tmp_path / "target" / "LICENSE").read_text() == "do good" and "LICENSE" in report.files
