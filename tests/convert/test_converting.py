"""Conversion keeps the model: every direction computes the same, and the report says so truly."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

import tiny
from converting import logits_of, read, tensors_of, write_source
from qwen7b.checkpoint import open_checkpoint
from qwen7b.convert import convert
from qwen7b.convert.conversion import WrittenFile
from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.files.gguf_header import read_gguf_header
from qwen7b.loading import load_model
from random_gptq import gptq_config, quantize

KINDS = ["qwen", "qwen2", "llama"]
# The longest that first-generation's dynamic NTK leaves alone, as the sources here were trained on so many tokens.
TRAINED_LENGTH = tiny.V11_CONFIG["seq_length"]


def target_of(tmp_path: Path, to: str) -> Path:
    return tmp_path / ("target.gguf" if to == "gguf" else "target")


@pytest.mark.parametrize("to", ["qwen", "qwen2", "gguf"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_direction_keeps_the_logits(tmp_path: Path, kind: str, to: Any) -> None:
    source, target = write_source(tmp_path / "source", kind), target_of(tmp_path, to)
    report = convert(source, target, to=to)
    assert torch.allclose(logits_of(target), logits_of(source), atol=1e-5)
    assert report.logits.largest_difference < 1e-5
    assert report.types["F32"].is_float
    assert report.types["F32"].largest_difference == 0
    assert open_checkpoint(target).config.family == {"qwen": "qwen", "qwen2": "qwen2"}.get(
        to, "llama" if kind == "llama" else "qwen2"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", ["qwen", "qwen2", "gguf"])
def test_gguf_is_a_source_too(tmp_path: Path, kind: str, to: Any) -> None:
    source, file = write_source(tmp_path / "source", kind), tmp_path / "model.gguf"
    convert(source, file, to="gguf", quantize="q8_0")
    convert(file, target_of(tmp_path, to), to=to)
    assert torch.allclose(logits_of(target_of(tmp_path, to)), logits_of(file), atol=1e-5)


def test_the_first_release_becomes_the_later_layout(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen", config=tiny.V10_CONFIG, pickled=True, shards=2)
    convert(source, tmp_path / "target", to="qwen")
    config = read(tmp_path / "target", "config.json")
    assert {name: config[name] for name in tiny.V11_CONFIG} == tiny.V11_CONFIG
    assert "auto_map" not in config
    assert torch.equal(logits_of(tmp_path / "target"), logits_of(source))


def test_repeated_key_value_heads_merge_back(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen2")
    there = convert(source, tmp_path / "qwen", to="qwen")
    back = convert(tmp_path / "qwen", tmp_path / "qwen2", to="qwen2")
    before, after = tensors_of(source), tensors_of(tmp_path / "qwen2")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    config = read(tmp_path / "qwen2", "config.json")
    assert {name: config[name] for name in tiny.QWEN2_CONFIG} == tiny.QWEN2_CONFIG
    assert there.changed == [
        "Each of the 2 key-value heads is there 2 times.",
        "The head is a copy of the embedding.",
    ]
    assert back.changed == [
        "The 4 key-value heads were 2 in equal copies and are merged.",
        "The head equals the embedding and is tied to it.",
    ]


def test_different_key_value_heads_stay_apart(tmp_path: Path) -> None:
    report = convert(write_source(tmp_path / "source", "qwen"), tmp_path / "target", to="qwen2")
    assert report.target_config.num_kv_heads == tiny.HEADS
    assert report.changed == []


def test_llama_gets_biases_of_zero(tmp_path: Path) -> None:
    report = convert(write_source(tmp_path / "source", "llama"), tmp_path / "target", to="qwen2")
    biases = [tensor for name, tensor in tensors_of(tmp_path / "target").items() if name.endswith("bias")]
    assert len(biases) == 3 * tiny.LAYERS and not any(bias.any() for bias in biases)
    assert "Query, key and value have biases of zero." in report.changed


def test_long_context_settings_go_where_they_can(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen")
    assert convert(source, tmp_path / "qwen", to="qwen").lost == []
    kept = read(tmp_path / "qwen", "config.json")
    assert (kept["use_dynamic_ntk"], kept["use_logn_attn"], kept["seq_length"]) == (True, True, TRAINED_LENGTH)
    assert kept["max_position_embeddings"] == 512
    report = convert(source, tmp_path / "qwen2", to="qwen2")
    assert report.lost == [
        "dynamic NTK and LogN cannot be expressed in this format, so the context ends at the trained length: 64 tokens "
        "instead of 512.",
        "The history limit of 6144 tokens (max_window_size).",
    ]
    assert read(tmp_path / "qwen2", "config.json")["max_position_embeddings"] == TRAINED_LENGTH


def test_without_scaling_the_whole_context_stays(tmp_path: Path) -> None:
    config = {**tiny.V11_CONFIG, "use_dynamic_ntk": False, "use_logn_attn": False}
    source = write_source(tmp_path / "source", "qwen", config=config)
    convert(source, tmp_path / "qwen2", to="qwen2")
    assert read(tmp_path / "qwen2", "config.json")["max_position_embeddings"] == 512


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_narrower_dtype_is_rounding_and_nothing_else(tmp_path: Path, dtype: str) -> None:
    source = write_source(tmp_path / "source", "qwen")
    report = convert(source, tmp_path / "target", to="qwen", dtype=dtype)
    before, after = tensors_of(source), tensors_of(tmp_path / "target")
    assert all(torch.equal(before[name].to(getattr(torch, dtype)), after[name]) for name in before)
    [entry] = report.types.values()
    largest = max(float((before[name] - after[name].float()).abs().max()) for name in before)
    assert entry.is_float and entry.largest_difference == largest
    assert "rounded to" in report.lost[0]
    assert read(tmp_path / "target", "config.json")["torch_dtype"] == dtype


def test_a_wider_dtype_is_written(tmp_path: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in tiny.qwen_tensors().items()}
    source = write_source(tmp_path / "source", "qwen", tensors=tensors)
    report = convert(source, tmp_path / "target", to="qwen", dtype="float32")
    assert {tensor.dtype for tensor in tensors_of(tmp_path / "target").values()} == {torch.float32}
    assert list(report.types) == ["F32"] and report.lost == []


def test_own_dtypes_are_kept(tmp_path: Path) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in tiny.qwen2_tensors(bias=False, head=True).items()}
    source = write_source(tmp_path / "source", "llama", tensors=tensors)
    convert(source, tmp_path / "target", to="qwen")
    assert {tensor.dtype for tensor in tensors_of(tmp_path / "target").values()} == {torch.bfloat16}
    convert(source, tmp_path / "target.gguf", to="gguf")
    header = read_gguf_header(tmp_path / "target.gguf")
    assert {info.type.name for info in header.tensors.values() if len(info.shape) == 2} == {"BF16"}
    assert {info.type.name for info in header.tensors.values() if len(info.shape) == 1} == {"F32"}


@pytest.mark.parametrize("quantize", ["q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "f16", "bf16"])
def test_quantized_types(tmp_path: Path, quantize: str) -> None:
    source = write_source(tmp_path / "source", "qwen2")
    report = convert(source, tmp_path / "target.gguf", to="gguf", quantize=quantize)
    types = {name: info.type.name for name, info in read_gguf_header(tmp_path / "target.gguf").tensors.items()}
    is_short = quantize in ("q5_1", "q5_0", "q4_1", "q4_0")
    assert types["blk.0.ffn_up.weight"] == types["blk.1.attn_q.weight"] == quantize.upper()
    assert types["token_embd.weight"] == ("Q8_0" if is_short else quantize.upper())
    assert types["blk.0.attn_norm.weight"] == types["blk.0.attn_k.bias"] == "F32"
    assert 0 < report.types[quantize.upper()].largest_difference < 0.3
    assert report.logits.largest_difference > 0


def test_quantizing_is_what_the_gguf_package_does(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "llama")
    convert(source, tmp_path / "target.gguf", to="gguf", quantize="q4_0")
    reader = gguf.GGUFReader(tmp_path / "target.gguf")
    data = next(tensor.data for tensor in reader.tensors if tensor.name == "blk.1.ffn_down.weight")
    weight = tensors_of(source)["model.layers.1.mlp.down_proj.weight"].numpy()
    assert (data == gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q4_0)).all()


def test_large_checkpoints_are_sharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen7b.convert.target_files.MAX_SHARD_BYTES", 150_000)
    source = write_source(tmp_path / "source", "qwen")
    convert(source, tmp_path / "target", to="qwen")
    shards = sorted(path.name for path in (tmp_path / "target").glob("*.safetensors"))
    assert len(shards) > 2 and shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    index = read(tmp_path / "target", "model.safetensors.index.json")
    assert set(index["weight_map"].values()) == set(shards)
    assert index["metadata"]["total_size"] == sum(tensor.numel() * 4 for tensor in tiny.qwen_tensors().values())
    assert torch.equal(logits_of(tmp_path / "target"), logits_of(source))


def test_blocks_do_not_change_a_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_source(tmp_path / "source", "llama")
    convert(source, tmp_path / "qwen", to="qwen")
    convert(source, tmp_path / "whole.gguf", to="gguf", quantize="q8_0")
    monkeypatch.setattr("qwen7b.files.stored.BLOCK_BYTES", 2000)
    convert(source, tmp_path / "blocks", to="qwen")
    convert(source, tmp_path / "blocks.gguf", to="gguf", quantize="q8_0")
    for name in ("qwen/model.safetensors", "whole.gguf"):
        other = name.replace("qwen", "blocks").replace("whole", "blocks")
        assert (tmp_path / name).read_bytes() == (tmp_path / other).read_bytes()


KEYS = ["source", "target", "tensors", "logits", "changed", "lost", "seconds", "versions", "files"]
"""Of conversion.json, in their order."""


def test_the_report_is_beside_the_target_and_true(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", "qwen2")
    for target, report_path in (
        (tmp_path / "folder", tmp_path / "folder" / "conversion.json"),
        (tmp_path / "file.q8.gguf", tmp_path / "file.q8.conversion.json"),
    ):
        report = convert(source, target, to="gguf" if target.suffix else "qwen")
        document = report.as_document()
        assert json.loads(report_path.read_text("utf-8")) == document
        assert list(document) == KEYS
        folder = target if target.is_dir() else tmp_path
        for name, file in report.files.items():
            content = (folder / name).read_bytes()
            assert file == WrittenFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        if target.is_dir():
            assert report.files.keys() == {path.name for path in target.iterdir()} - {"conversion.json"}
        assert report.num_tensors == len(open_checkpoint(target).tensors)
        assert report.versions.keys() == {"qwen7b", "torch", "gguf", "python"}
        assert report.logits.tokens > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("file.q8.conversion.json", "file.q8.gguf", "folder", "source")
    ]


def test_transformers_own_qwen2_agrees(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    source = write_source(tmp_path / "source", "qwen")
    convert(source, tmp_path / "target", to="qwen2")
    model = transformers.Qwen2ForCausalLM.from_pretrained(tmp_path / "target", dtype=torch.float32).eval()
    ids = torch.arange(1, TRAINED_LENGTH)[None]
    with torch.inference_mode():
        assert torch.allclose(model(ids).logits, load_model(source)(ids), atol=2e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": "onnx"}, "to must be one of qwen, qwen2, gguf"),
        ({"to": "qwen", "dtype": "float8"}, "dtype must be one of float32, bfloat16, float16"),
        ({"to": "gguf", "quantize": "q4_k"}, "quantize must be one of q8_0, q5_1, q5_0, q4_1, q4_0, bf16, f16"),
        ({"to": "qwen2", "quantize": "q8_0"}, "only GGUF files are quantized"),
        ({"to": "gguf", "dtype": "float16", "quantize": "q8_0"}, "contradict each other"),
        ({"to": "qwen", "check_text": ""}, "the check text is empty"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    target = tmp_path / ("target.gguf" if settings["to"] == "gguf" else "target")
    with pytest.raises(SettingError, match=message):
        convert(write_source(tmp_path / "source", "qwen"), target, **settings)


def test_rows_that_no_block_fits(tmp_path: Path) -> None:
    config = {**tiny.QWEN2_CONFIG, "intermediate_size": 80}
    tensors = tiny.qwen2_tensors()
    for layer in range(tiny.LAYERS):
        prefix = f"model.layers.{layer}.mlp."
        tensors |= {
            f"{prefix}gate_proj.weight": torch.zeros(80, 64),
            f"{prefix}up_proj.weight": torch.zeros(80, 64),
            f"{prefix}down_proj.weight": torch.zeros(64, 80),
        }
    source = write_source(tmp_path / "source", "qwen2", config=config, tensors=tensors)
    with pytest.raises(UnsupportedError, match=r"feed_forward.down.weight has rows of 80"):
        convert(source, tmp_path / "target.gguf", to="gguf", quantize="q8_0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize(("value", "message"), [(7e4, "too large for F16"), (float("nan"), "the source is damaged")])
def test_numbers_that_the_type_cannot_hold(tmp_path: Path, value: float, message: str) -> None:
    tensors = tiny.qwen_tensors()
    tensors["transformer.h.1.mlp.w1.weight"][3, 5] = value
    source = write_source(tmp_path / "source", "qwen", tensors=tensors)
    with pytest.raises(UnsupportedError, match=rf"transformer\.h\.1\.mlp\.w1\.weight.*{message}"):
        convert(source, tmp_path / "target", to="qwen", dtype="float16")
    assert not (tmp_path / "target").exists()


def test_gptq_becomes_ordinary_weights(tmp_path: Path) -> None:
    packed, plain = quantize(tiny.qwen_tensors(), bits=4, group_size=16, act_order=True)
    config = {**tiny.V11_CONFIG, "quantization_config": gptq_config(4, 16)}
    convert(write_source(tmp_path / "gptq", "qwen", config=config, tensors=packed), tmp_path / "target", to="qwen")
    written = tensors_of(tmp_path / "target")
    assert written.keys() == plain.keys() and all(torch.equal(plain[name], written[name]) for name in plain)
    assert "quantization_config" not in read(tmp_path / "target", "config.json")
