"""Stretched positions and attention windows in checkpoints: read, computed as elsewhere, written and kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import qwen7b
import tiny
from converting import IDS, logits_of, read, tensors_of, write_source
from qwen7b.checkpoint import open_checkpoint
from qwen7b.checkpoint.own_config import config_fields, config_from
from qwen7b.checkpoint.upstream_config import config_of, gguf_config
from qwen7b.config import ModelConfig
from qwen7b.config.rotary_scaling import DynamicNtk, LinearInterpolation, Yarn
from qwen7b.convert import convert, quantize
from qwen7b.errors import CheckpointError, Qwen7bError, SettingError, UnsupportedError
from qwen7b.files.gguf_header import read_gguf_header
from qwen7b.loading import load_model

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
SLIDING = {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}
EVERY_YARN = Yarn(factor=2, original_length=16, beta_fast=2, beta_slow=0.25, attention_factor=1.25)
EVERY_ROPE = {
    "rope_type": "yarn",
    "factor": 2.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 2,
    "beta_slow": 0.25,
    "attention_factor": 1.25,
}


def config(fields: dict[str, Any], **changes: Any) -> ModelConfig:
    return config_of({**fields, **changes}, source="config.json")


def qwen2(**changes: Any) -> ModelConfig:
    return config(tiny.QWEN2_CONFIG, **changes)


# --- reading config.json -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(
    ("rope", "scaling"),
    [
        (None, None),
        ({"rope_type": "default"}, None),
        ({"rope_type": "linear", "factor": 4}, LinearInterpolation(factor=4)),
        ({"type": "linear", "factor": 2.5}, LinearInterpolation(factor=2.5)),
        (YARN, Yarn(factor=4, original_length=32)),
        ({"type": "yarn", "factor": 4, "finetuned": True, "truncate": True}, Yarn(factor=4, original_length=128)),
        (EVERY_ROPE, EVERY_YARN),
        ({**YARN, "beta_fast": None, "beta_slow": 0, "attention_factor": None}, Yarn(factor=4, original_length=32)),
        ({**YARN, "mscale": 0.5}, Yarn(factor=4, original_length=32)),
    ],
)
def test_scaling_is_read(field: str, rope: Any, scaling: object) -> None:
    assert qwen2(**{field: rope}).rotary_scaling == scaling
    assert config(tiny.LLAMA_CONFIG, **{field: rope}).rotary_scaling == scaling


def test_mscale_is_what_transformers_makes_of_it() -> None:
    rope_utils = pytest.importorskip("transformers.modeling_rope_utils", reason="needs the extra hf")
    from transformers import Qwen2Config

    rope = {**YARN, "mscale": 0.7, "mscale_all_dim": 1.3, "rope_theta": 10000.0}
    _, factor = rope_utils.ROPE_INIT_FUNCTIONS["yarn"](Qwen2Config(rope_parameters=dict(rope)), device="cpu")
    scaling = qwen2(rope_parameters=rope).rotary_scaling
    assert isinstance(scaling, Yarn) and scaling.attention_factor == pytest.approx(factor, rel=1e-6)


def test_the_base_may_be_among_the_rope_settings() -> None:
    assert qwen2(rope_parameters={**YARN, "rope_theta": 5e5}).rope_base == 5e5
    assert qwen2(rope_scaling=YARN, rope_theta=3e4).rope_base == 3e4


def test_yarn_is_trained_to_its_original_length_and_stretched_beyond() -> None:
    for positions, rope, lengths in (
        (128, YARN, (32, 128)),
        (32, YARN, (32, 128)),
        (200, YARN, (32, 200)),
        (128, {"type": "yarn", "factor": 4.0}, (128, 512)),
        (128, {"type": "linear", "factor": 4.0}, (128, 128)),
    ):
        found = qwen2(max_position_embeddings=positions, rope_scaling=rope)
        assert (found.trained_length, found.context_length) == lengths


@pytest.mark.parametrize(
    ("rope", "kind", "message"),
    [
        ({"type": "dynamic", "factor": 2.0}, UnsupportedError, "'dynamic', whose formula differs from that of"),
        ({"rope_type": "llama3", "factor": 8.0}, UnsupportedError, "'llama3': qwen7b computes only linear and yarn"),
        ({"rope_type": ["yarn"]}, UnsupportedError, "qwen7b computes only linear and yarn"),
        ("yarn", UnsupportedError, "rope_scaling must be an object, found 'yarn'"),
        ({**YARN, "long_factor": [1.0]}, UnsupportedError, "sets long_factor for yarn rotary positions"),
        ({"type": "linear", "factor": 2.0, "beta_fast": 1}, UnsupportedError, "sets beta_fast for linear"),
        ({"full_attention": {"rope_type": "yarn"}}, UnsupportedError, "sets full_attention for default"),
        ({**YARN, "partial_rotary_factor": 0.5}, UnsupportedError, "partial_rotary_factor"),
        ({**YARN, "truncate": False}, UnsupportedError, "truncate"),
        ({"type": "yarn"}, CheckpointError, "does not say factor"),
        ({"type": "linear", "factor": "4"}, CheckpointError, "factor must be a number"),
        ({"type": "linear", "factor": 0.5}, CheckpointError, "factor must be a number of at least 1, found 0.5"),
        ({**YARN, "factor": 0.5}, CheckpointError, "factor must be a number of at least 1"),
        ({**YARN, "factor": 1e300}, CheckpointError, "context_length must be a whole number"),
        ({**YARN, "beta_fast": -1}, CheckpointError, "beta_fast must be a number above 0"),
        ({**YARN, "attention_factor": -1.0}, CheckpointError, "attention_factor must be a number above 0"),
        ({**YARN, "original_max_position_embeddings": 0}, CheckpointError, "original_length must be a whole number"),
    ],
)
def test_scaling_that_is_not_computed_is_refused(rope: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        qwen2(rope_scaling=rope)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({}, None),
        (SLIDING, (0, 9)),
        ({**SLIDING, "max_window_layers": 0}, (9, 9)),
        ({**SLIDING, "max_window_layers": 2}, None),
        ({**SLIDING, "use_sliding_window": False}, None),
        ({**SLIDING, "sliding_window": None}, None),
        ({"use_sliding_window": True}, None),  # from layer 28 on, as in transformers
        ({"use_sliding_window": True, "max_window_layers": 0}, (4096, 4096)),
        ({**SLIDING, "layer_types": ["sliding_attention", "full_attention"]}, (9, 0)),
        ({"layer_types": ["full_attention", "full_attention"]}, None),
    ],
)
def test_windows_are_read_as_transformers_reads_them(fields: dict[str, Any], windows: object) -> None:
    assert qwen2(**fields).attention_windows == windows
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    theirs = transformers.Qwen2Config(**{**tiny.QWEN2_CONFIG, **fields})
    found = [theirs.sliding_window if kind == "sliding_attention" else 0 for kind in theirs.layer_types]
    assert tuple(found) == (windows or (0, 0))


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"layer_types": ["sliding_attention"] * 2}, CheckpointError, "without use_sliding_window"),
        ({**SLIDING, "layer_types": ["sliding_attention"] * 3}, CheckpointError, "one type for each of 2 layers"),
        ({**SLIDING, "layer_types": ["chunked_attention"] * 2}, UnsupportedError, "layer_types other than"),
        ({**SLIDING, "layer_types": "sliding_attention"}, CheckpointError, "one type for each of 2 layers"),
        ({**SLIDING, "sliding_window": 0}, CheckpointError, "sliding_window must be a whole number of at least 1"),
        ({**SLIDING, "sliding_window": 9.5}, CheckpointError, "sliding_window must be a number"),
    ],
)
def test_windows_that_make_no_sense(fields: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        qwen2(**fields)


def test_first_generation_has_settings_of_ours() -> None:
    plain = {**tiny.V11_CONFIG, "use_dynamic_ntk": False}
    assert config(tiny.V10_CONFIG, attention_windows=[8, 0]).attention_windows == (8, 0)
    assert config(plain, rope_scaling={"type": "yarn", "factor": 2}).rotary_scaling == Yarn(
        factor=2, original_length=tiny.V11_CONFIG["seq_length"]
    )
    for positions, rope, lengths in (
        (512, YARN, (32, 512)),
        (64, YARN, (32, 128)),
        (64, {"type": "default"}, (64, 64)),
    ):
        found = config(plain, max_position_embeddings=positions, rope_scaling=rope)
        assert (found.trained_length, found.context_length) == lengths
    for fields, message in (
        ({"attention_windows": [8]}, "a tuple of 2 windows, one a layer"),
        ({"attention_windows": 8}, "must be a list"),
        ({"attention_windows": [8, -1]}, "a layer's attention window must be a whole number"),
        ({"attention_windows": [8, "9"]}, "a layer's attention window must be a whole number"),
        ({"rope_scaling": YARN, "use_dynamic_ntk": True}, "both use_dynamic_ntk and rope_scaling"),
    ):
        with pytest.raises(CheckpointError, match=message):
            config(plain, **fields)


# --- it computes what transformers computes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"rope_scaling": {"rope_type": "linear", "factor": 3.0}},
        {"rope_scaling": {**YARN, "original_max_position_embeddings": 16}},
        {"rope_scaling": EVERY_ROPE},
        SLIDING,
        {**SLIDING, "rope_scaling": YARN, "layer_types": ["sliding_attention", "full_attention"]},
    ],
)
def test_transformers_own_qwen2_agrees(tmp_path: Path, fields: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    source = write_source(tmp_path / "source", "qwen2", config={**tiny.QWEN2_CONFIG, **fields})
    theirs = transformers.Qwen2ForCausalLM.from_pretrained(
        source, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.inference_mode():
        expected = theirs(IDS).logits
    assert torch.allclose(logits_of(source), expected, atol=3e-4)
    plain = write_source(tmp_path / "plain", "qwen2", tensors=tensors_of(source))
    assert not torch.allclose(logits_of(plain), expected, atol=0.1)


# --- GGUF ----------------------------------------------------------------------------------------------------------

GGUF = {
    "general.architecture": "qwen2",
    "qwen2.context_length": 128,
    "qwen2.embedding_length": 64,
    "qwen2.block_count": 2,
    "qwen2.feed_forward_length": 96,
    "qwen2.attention.head_count": 4,
    "qwen2.attention.layer_norm_rms_epsilon": 1e-6,
}


def from_gguf(**changes: Any) -> ModelConfig:
    fields = {f"qwen2.rope.{name}": value for name, value in changes.items()}
    return gguf_config({**GGUF, **fields}, vocab_rows=320, tied_head=True, source="model.gguf")


@pytest.mark.parametrize(
    ("fields", "scaling", "lengths"),
    [
        ({}, None, (128, 128)),
        ({"scaling.type": "none", "scaling.factor": 4.0}, None, (128, 128)),
        ({"scaling.type": "linear", "scaling.factor": 4.0}, LinearInterpolation(factor=4), (128, 128)),
        ({"scale_linear": 2.0}, LinearInterpolation(factor=2), (128, 128)),
        ({"scaling.factor": 0.0}, None, (128, 128)),
        ({"scaling.type": "yarn", "scaling.factor": 4.0}, Yarn(factor=4, original_length=128), (128, 512)),
        (
            {"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.original_context_length": 32},
            Yarn(factor=4, original_length=32),
            (32, 128),
        ),
        (
            {"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.yarn_attn_factor": 1.5},
            Yarn(factor=4, original_length=128, attention_factor=1.5),
            (128, 512),
        ),
    ],
)
def test_gguf_is_read(fields: dict[str, Any], scaling: object, lengths: tuple[int, int]) -> None:
    found = from_gguf(**fields)
    assert (found.rotary_scaling, (found.trained_length, found.context_length)) == (scaling, lengths)


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"scaling.type": "longrope"}, UnsupportedError, "'longrope': qwen7b computes only linear and yarn"),
        ({"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.yarn_ext_factor": 0.5}, UnsupportedError, "yarn_ext"),
        ({"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.yarn_log_multiplier": 0.1}, UnsupportedError, "log"),
        ({"scaling.type": "linear", "scaling.factor": 4.0, "scaling.attn_factor": 1.1}, UnsupportedError, "attn"),
        ({"scaling.type": "yarn", "scaling.factor": 0.5}, CheckpointError, "factor must be a number of at least 1"),
    ],
)
def test_gguf_that_is_not_computed(fields: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        from_gguf(**fields)


# --- conversion ----------------------------------------------------------------------------------------------------


def numbers_of(scaling: object) -> dict[str, Any]:
    """Its type and numbers, of which GGUF holds 24 bits."""
    fields = {name: pytest.approx(value, rel=1e-6) for name, value in asdict(scaling).items() if value is not None}  # type: ignore[call-overload]
    return {"type": type(scaling), **fields}


@pytest.mark.parametrize("to", ["qwen", "qwen2", "gguf"])
@pytest.mark.parametrize("rope", [{"rope_type": "linear", "factor": 3.0}, YARN, EVERY_ROPE])
@pytest.mark.parametrize("kind", ["qwen", "qwen2", "llama"])
def test_scaling_survives_every_conversion(tmp_path: Path, kind: str, rope: dict[str, Any], to: Any) -> None:
    base = {"qwen": tiny.V11_CONFIG, "qwen2": tiny.QWEN2_CONFIG, "llama": tiny.LLAMA_CONFIG}[kind]
    fields = {**base, "rope_scaling": rope}
    if kind == "qwen":
        fields |= {"use_dynamic_ntk": False, "use_logn_attn": False}
    source = write_source(tmp_path / "source", kind, config=fields)
    target = tmp_path / ("target.gguf" if to == "gguf" else "target")
    report = convert(source, target, to=to)
    before, after = open_checkpoint(source).config, open_checkpoint(target).config
    assert numbers_of(after.rotary_scaling) == numbers_of(before.rotary_scaling)
    if isinstance(after.rotary_scaling, Yarn) and after.family != "qwen":
        assert after.trained_length == after.rotary_scaling.original_length
    assert torch.allclose(logits_of(target), logits_of(source), atol=1e-5)
    own = "Only qwen7b reads rope_scaling in this format: other programs ignore it."
    assert (own in report.lost) == (to == "qwen")
    betas = "llama.cpp does not read YaRN's beta_fast and beta_slow for such models: it takes 32 and 1."
    assert (betas in report.lost) == (to == "gguf" and rope is EVERY_ROPE)
    assert report.logits.largest_difference < 1e-5


def test_windows_survive_where_they_can_be_said(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen2", config={**tiny.QWEN2_CONFIG, **SLIDING})
    lost = convert(source, tmp_path / "qwen", to="qwen").lost
    assert lost == ["Only qwen7b reads attention_windows in this format: other programs ignore it."]
    assert read(tmp_path / "qwen", "config.json")["attention_windows"] == [0, 9]
    convert(tmp_path / "qwen", tmp_path / "qwen2", to="qwen2")
    written = read(tmp_path / "qwen2", "config.json")
    assert {name: written[name] for name in SLIDING} == SLIDING
    for folder in ("qwen", "qwen2"):
        assert open_checkpoint(tmp_path / folder).config.attention_windows == (0, 9)
        assert torch.allclose(logits_of(tmp_path / folder), logits_of(source), atol=1e-5)


@pytest.mark.parametrize(("windows", "to"), [([9, 0], "gguf"), ([9, 20], "qwen2"), ([9, 20], "gguf")])
def test_windows_that_cannot_be_said_are_named(tmp_path: Path, windows: Sequence[int], to: Any) -> None:
    fields = {**tiny.V11_CONFIG, "attention_windows": windows, "use_dynamic_ntk": False, "use_logn_attn": False}
    source = write_source(tmp_path / "source", "qwen", config=fields)
    target = tmp_path / ("target.gguf" if to == "gguf" else "target")
    report = convert(source, target, to=to)
    assert (
        "These attention windows cannot be expressed in this format, so beyond the shortest of them, 9 tokens, the "
        "model behaves differently."
    ) in report.lost
    assert (report.logits.tokens, report.logits.largest_difference < 1e-5) == (9, True)
    assert open_checkpoint(target).config.attention_windows is None
    assert report.source_config.attention_windows == tuple(windows)


def test_layers_with_windows_below_ones_without(tmp_path: Path) -> None:
    fields = {**tiny.V11_CONFIG, "attention_windows": [9, 0], "use_dynamic_ntk": False, "use_logn_attn": False}
    source = write_source(tmp_path / "source", "qwen", config=fields)
    convert(source, tmp_path / "target", to="qwen2")
    assert open_checkpoint(tmp_path / "target").config.attention_windows == (9, 0)
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    theirs = transformers.Qwen2ForCausalLM.from_pretrained(
        tmp_path / "target", dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.inference_mode():
        assert torch.allclose(theirs(IDS).logits, logits_of(source), atol=3e-4)


def test_logn_without_ntk_beside_yarn_is_lost_in_words_that_are_true(tmp_path: Path) -> None:
    fields = {**tiny.V11_CONFIG, "use_dynamic_ntk": False, "rope_scaling": {"type": "yarn", "factor": 2.0}}
    report = convert(write_source(tmp_path / "source", "qwen", config=fields), tmp_path / "target", to="qwen2")
    assert (
        "LogN cannot be expressed in this format, so beyond the trained length of 64 tokens the model behaves "
        "differently."
    ) in report.lost
    assert open_checkpoint(tmp_path / "target").config.context_length == 512


def test_gguf_says_it_in_llama_cpps_words(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen2", config={**tiny.QWEN2_CONFIG, "rope_scaling": YARN})
    convert(source, tmp_path / "target.gguf", to="gguf")
    metadata = read_gguf_header(tmp_path / "target.gguf").metadata
    assert {name: value for name, value in metadata.items() if ".rope.scaling." in name} == {
        "qwen2.rope.scaling.type": "yarn",
        "qwen2.rope.scaling.factor": 4.0,
        "qwen2.rope.scaling.original_context_length": 32,
        "qwen2.rope.scaling.yarn_beta_fast": 32.0,
        "qwen2.rope.scaling.yarn_beta_slow": 1.0,
    }


# --- packed folders, and loading with a method ---------------------------------------------------------------------


@pytest.mark.parametrize("scaling", [None, DynamicNtk(), LinearInterpolation(factor=3), EVERY_YARN])
@pytest.mark.parametrize("windows", [None, (4, 0)])
def test_a_config_is_json_and_back(scaling: Any, windows: Any) -> None:
    before = replace(qwen2(), rotary_scaling=scaling, attention_windows=windows)
    assert config_from(json.loads(json.dumps(config_fields(before)))) == before


def test_a_packed_folder_keeps_it(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen2", config={**tiny.QWEN2_CONFIG, **SLIDING, "rope_scaling": YARN})
    quantize(source, tmp_path / "packed", format="q8")
    assert open_checkpoint(tmp_path / "packed").config == open_checkpoint(source).config
    path = tmp_path / "packed" / "config.json"
    fields = json.loads(path.read_text())
    for damage in ({"rotary_scaling": {"kind": "longrope"}}, {"rotary_scaling": 3}, {"attention_windows": 3}):
        path.write_text(json.dumps({**fields, "model": {**fields["model"], **damage}}))
        with pytest.raises(CheckpointError, match="is damaged"):
            open_checkpoint(tmp_path / "packed")


def test_models_load_with_a_method(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen")
    own = open_checkpoint(source).config
    assert load_model(source).config == own
    model = load_model(source, long_context="yarn:2+window:16")
    assert model.config == replace(
        own, rotary_scaling=Yarn(factor=2, original_length=64), logn=False, attention_windows=(16, 16)
    )
    assert load_model(source, long_context="none", context_length=80).config.context_length == 80
    qwen = qwen7b.load(source, long_context="ntk+logn", context_length=4096, quantize="none")
    assert (qwen.context_length, qwen.config.dynamic_ntk, qwen.config.logn) == (4096, True, True)
    assert qwen7b.load(source, quantize="none").context_length == 512
    short = write_source(tmp_path / "short", "qwen", config={**tiny.V11_CONFIG, "max_position_embeddings": 64})
    assert qwen7b.load(short, long_context="ntk", quantize="none").context_length == 256


def test_packed_weights_serve_every_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    source = write_source(tmp_path / "source", "qwen2")
    plain = load_model(source, quantize="q4", keep=True)
    stretched = load_model(source, quantize="q4", keep=True, long_context="linear:2")
    assert stretched.config.rotary_scaling == LinearInterpolation(factor=2) and plain.config.rotary_scaling is None
    assert all(torch.equal(one, other) for one, other in zip(plain.buffers(), stretched.buffers(), strict=True))
    assert not torch.allclose(plain(IDS), stretched(IDS))


def test_an_unknown_method_is_refused_before_anything_is_fetched() -> None:
    for refuse in (
        lambda: qwen7b.load("no such model", long_context="alibi"),
        lambda: qwen7b.load("no such model", long_context="ntk+yarn"),
    ):
        with pytest.raises(SettingError, match="long-context method"):
            refuse()
    with pytest.raises(Qwen7bError):
        qwen7b.load("no such model", long_context="ntk", offline=True)
