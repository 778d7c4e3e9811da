"""Packed weights: the same model whatever the source, from memory, the cache or a folder; damage is never read."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import qwen7b
import tiny
from converting import write_source
from gguf_files import write_gguf
from qwen7b.checkpoint import open_checkpoint, packed_file
from qwen7b.checkpoint.packed_file import map_packed
from qwen7b.convert import quantize
from qwen7b.errors import CheckpointError, Qwen7bError, ResourceError, SettingError
from qwen7b.kernels import PackedMatrix
from qwen7b.loading import load_model, packed_weights
from qwen7b.model import Transformer
from qwen7b.packed.formats import FORMATS, find_format
from qwen7b.packed.key_balance import KeyBalance
from qwen7b.packed.modules import PackedEmbedding, PackedLinear
from qwen7b.packed.packed_cache import PackedCacheFactory
from qwen7b.packed.version import VERSION, VERSION_FIELD
from qwen7b.packing import automatic, calibration, packing
from qwen7b.packing import kept_weights as packed_cache
from qwen7b.packing.places import kept_path
from qwen7b.system.storage import only_one_process
from qwen7b.text import load_tokenizer

IDS = torch.arange(1, 40)[None]
KINDS = pytest.mark.parametrize("kind", ["qwen", "qwen2", "llama"])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source", "qwen")


@torch.inference_mode()
def logits(model: Transformer) -> torch.Tensor:
    return model(IDS)


def matrices(model: Transformer) -> dict[str, PackedMatrix]:
    return {
        name: module.matrix
        for name, module in model.named_modules()
        if isinstance(module, (PackedLinear, PackedEmbedding))
    }


def refusal(error: type[Qwen7bError], *arguments: Any, **settings: Any) -> str:
    with pytest.raises(error) as caught:
        quantize(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is packed


@KINDS
@pytest.mark.parametrize("format", list(FORMATS))
def test_every_matrix_is_packed_and_near_its_source(tmp_path: Path, kind: str, format: str) -> None:
    path = write_source(tmp_path / kind, kind)
    exact, model = load_model(path), load_model(path, quantize=format)
    assert not model.training and not any(parameter.dim() > 1 for parameter in model.parameters())
    found = matrices(model)
    assert len(found) == (2 if kind == "qwen2" else 1) + 5 * tiny.LAYERS
    for name, matrix in found.items():
        weight = exact.get_submodule(name).weight.detach()
        is_short = format != "q8" and name.startswith("layers.")
        assert matrix.bits == (4 if is_short else 8), name
        assert (matrix.num_rows, matrix.num_columns) == weight.shape
        error = (matrix.dequantize() - weight).norm() / weight.norm()
        assert error < (0.12 if is_short else 0.01), name
    assert torch.equal(model.norm.weight, exact.norm.weight)
    rows, weight = model.embedding(torch.arange(tiny.ROWS)), exact.embedding.weight.detach()
    assert rows.shape == weight.shape and (rows - weight).norm() < 0.01 * weight.norm()
    sizes = []
    for exact_layer in exact.layers:
        attention, norm = exact_layer.attention, exact_layer.attention_norm.weight
        size, kv_heads = attention.head_size, attention.num_kv_heads
        rows = (attention.qkv.weight * norm).square().sum(1)
        if attention.qkv.bias is not None:
            rows = rows + attention.qkv.bias.square()
        pairs = rows.view(-1, 2, size // 2).sum(1)[: attention.num_heads + kv_heads]
        queries, keys = pairs[: attention.num_heads].view(kv_heads, -1, size // 2).mean(1), pairs[-kv_heads:]
        sizes.append(torch.stack((queries, keys)).detach().sqrt())
    assert isinstance(model.cache_factory, PackedCacheFactory)
    torch.testing.assert_close(model.cache_factory.balance.factors, KeyBalance.from_pair_sizes(sizes).factors)
    if kind == "qwen2":
        assert found["head"].codes.data_ptr() == found["embedding"].codes.data_ptr()
        assert torch.equal(model.layers[1].attention.qkv.bias, exact.layers[1].attention.qkv.bias)
    if format == "q8":
        assert (logits(model) - logits(exact)).norm() < 0.2 * logits(exact).norm()


def test_parts_that_are_no_multiples_of_sixteen(tmp_path: Path) -> None:
    """Query, key and value meet within a block of rows, and rows end within a group."""
    config = {**tiny.QWEN2_CONFIG, "head_dim": 6, "num_attention_heads": 3, "num_key_value_heads": 1}
    tensors = tiny.qwen2_tensors()
    for layer in range(tiny.LAYERS):
        prefix = f"model.layers.{layer}.self_attn."
        for name, heads in (("q", 3), ("k", 1), ("v", 1)):
            tensors[f"{prefix}{name}_proj.weight"] = tiny.random_tensor(6 * heads, tiny.HIDDEN)
            tensors[f"{prefix}{name}_proj.bias"] = tiny.random_tensor(6 * heads)
        tensors[f"{prefix}o_proj.weight"] = tiny.random_tensor(tiny.HIDDEN, 18)
    path = tiny.write_folder(tmp_path / "odd", config, tensors)
    exact, model = load_model(path), load_model(path, quantize="q8")
    weight = exact.layers[0].attention.qkv.weight.detach()
    assert (model.layers[0].attention.qkv.matrix.dequantize() - weight).norm() < 0.01 * weight.norm()
    assert (logits(model) - logits(exact)).norm() < 0.2 * logits(exact).norm()


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_gguf_packs_like_its_folder(tmp_path: Path, family: str) -> None:
    tensors = tiny.qwen2_tensors(bias=family == "qwen2", head=family == "llama")
    config = tiny.QWEN2_CONFIG if family == "qwen2" else tiny.LLAMA_CONFIG
    folder = tiny.write_folder(tmp_path / "folder", config, tensors)
    gguf = write_gguf(tmp_path / "model.gguf", tensors, family=family)
    assert torch.equal(logits(load_model(gguf, quantize="q4")), logits(load_model(folder, quantize="q4")))


def test_blocks_do_not_change_a_matrix(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def packed() -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = {}
        packing.pack_checkpoint(open_checkpoint(source), find_format("q4"), tensors.__setitem__)
        return tensors

    expected = packed()
    monkeypatch.setattr(packing, "_BLOCK_WEIGHTS", 1)
    found = packed()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("reason", ["size", "no tokenizer"])
def test_without_calibration_while_loading_it_is_said(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    if reason == "size":
        monkeypatch.setattr(automatic, "_MAX_WEIGHTS", 1000)
    else:
        (source / "tokenizer.json").unlink()
    model = load_model(source, quantize="q4")
    expected = "takes longer and is more accurate" if reason == "size" else "there is no tokenizer to calibrate with"
    assert expected in capsys.readouterr().err
    tensors: dict[str, torch.Tensor] = {}
    packing.pack_checkpoint(open_checkpoint(source), find_format("q4"), tensors.__setitem__)
    assert torch.equal(model.layers[1].feed_forward.up.codes, tensors["layers.1.feed_forward.up.codes"])


def test_packing_under_inference_mode(source: Path) -> None:
    with torch.inference_mode():
        model = load_model(source, quantize="q4")
    assert torch.equal(logits(model), logits(load_model(source, quantize="q4")))


def test_threads_are_as_many_as_before(source: Path) -> None:
    before = torch.get_num_threads()
    load_model(source, quantize="q8")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ("h.1.mlp.w1.weight", "layers.1.feed_forward.up holds weights that are infinite"),
        ("h.0.attn.c_attn.bias", "tensor 'transformer.h.0.attn.c_attn.bias' holds inf or nan"),
        ("ln_f.weight", "tensor 'transformer.ln_f.weight' holds inf or nan"),
        ("wte.weight", "embedding holds weights that are infinite"),
    ],
)
@pytest.mark.parametrize("format", ["q8", "q4"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_weights_that_are_no_numbers(tmp_path: Path, tensor: str, message: str, format: str, value: float) -> None:
    tensors = tiny.qwen_tensors()
    tensors[f"transformer.{tensor}"].view(-1)[5] = value
    path = tiny.write_folder(tmp_path / "bad", tiny.V11_CONFIG, tensors)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        load_model(path, quantize=format)


# Settings and memory


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantize": "q5"}, "must be one of q8, q4, nf4, auto, found 'q5'"),
        ({"quantize": "q4", "dtype": torch.bfloat16}, "compute in float32, found dtype torch.bfloat16"),
    ],
)
def test_settings_that_make_no_sense(source: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load_model(source, **settings)


def packed_bytes(source: Path, format: str) -> int:
    config = open_checkpoint(source).config
    return packed_file.layout_bytes(packed_weights.packed_layout(config, find_format(format)))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("room", "expected"), [(1.3, 8), (1.1, 4)])
def test_auto_picks_by_memory_and_says_so(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], room: float, expected: int
) -> None:
    monkeypatch.setattr(packed_weights, "available_bytes", lambda device: int(room * packed_bytes(source, "q8")))
    model = load_model(source, quantize="auto")
    assert model.layers[0].attention.qkv.matrix.bits == expected
    assert f"Weights as q{expected}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("quantize", "available", "remedy"), [("q8", "q4", "load it as q4"), ("auto", None, "load a smaller model")]
)
def test_too_little_memory(
    source: Path, monkeypatch: pytest.MonkeyPatch, quantize: str, available: str | None, remedy: str
) -> None:
    free = 0 if available is None else packed_bytes(source, available)
    monkeypatch.setattr(packed_weights, "available_bytes", lambda device: free)
    with pytest.raises(ResourceError, match=remedy):
        load_model(source, quantize=quantize)


# The cache


def make_other_version(weights: Path) -> None:
    content = weights.read_bytes()
    field = f'"{VERSION_FIELD}":"%s"'
    other = content.replace((field % VERSION).encode(), (field % 0).encode())
    assert other != content
    weights.write_bytes(other)


def test_packed_weights_are_kept_and_mapped(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = logits(load_model(source, quantize="q4"))
    assert torch.equal(logits(load_model(source, quantize="q4", keep=True)), expected)
    said = capsys.readouterr().err
    assert "Packing" in said and f"packed once, into {cache / 'packed'}" in said
    monkeypatch.setattr(packed_cache, "pack_automatically", None)  # not to be called again
    assert torch.equal(logits(load_model(source, quantize="q4", keep=True)), expected)
    assert torch.equal(logits(qwen7b.load(source, quantize="q4").model), expected)
    assert capsys.readouterr().err == ""
    kept = {path.suffix for path in (cache / "packed").iterdir() if path.name != ".lock"}
    assert kept == {".safetensors", ".vocabulary", ".whole"}


@pytest.mark.parametrize("damage", ["truncated", "version", "source"])
def test_kept_weights_that_are_no_longer_good_are_made_again(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    expected = logits(load_model(source, quantize="q8", keep=True))
    path = kept_path(source, "q8")
    if damage == "truncated":
        os.truncate(path, path.stat().st_size - 1)
    elif damage == "version":
        make_other_version(path)
    else:
        os.utime(source / "model.safetensors", (0, 0))
    capsys.readouterr()
    assert torch.equal(logits(load_model(source, quantize="q8", keep=True)), expected)
    assert capsys.readouterr().err.count("packing them again") == 1
    load_model(source, quantize="q8", keep=True)
    assert capsys.readouterr().err == ""


def test_a_folder_in_the_place_of_a_kept_file(source: Path, cache: Path) -> None:
    kept_path(source, "q8").mkdir(parents=True)
    with pytest.warns(UserWarning, match="the packed weights are not kept.*is a folder"):
        load_model(source, quantize="q8", keep=True)


def test_a_cache_that_cannot_be_written(source: Path, cache: Path) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="the packed weights are not kept"):
        model = load_model(source, quantize="q8", keep=True)
    assert torch.equal(logits(model), logits(load_model(source, quantize="q8")))


def test_a_copy_that_is_removed_as_soon_as_it_is_there(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def then_removed(folder: Path, **said: str) -> Iterator[None]:
        with only_one_process(folder, **said):
            yield
        kept_path(source, "q8").unlink()

    monkeypatch.setattr(packed_cache, "only_one_process", then_removed)
    model = load_model(source, quantize="q8", keep=True)
    assert torch.equal(logits(model), logits(load_model(source, quantize="q8")))


def test_an_interrupted_packing_leaves_nothing(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(packed_cache, "pack_automatically", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_model(source, quantize="q8", keep=True)
    assert [path.name for path in (cache / "packed").iterdir()] == [".lock"]


# Packed folders


@KINDS
@pytest.mark.parametrize("as_gguf", [False, True], ids=["folder", "gguf"])
def test_a_packed_folder_is_the_packed_model(tmp_path: Path, kind: str, as_gguf: bool) -> None:
    path = write_source(tmp_path / kind, kind)
    if as_gguf:
        qwen7b.convert.convert(path, tmp_path / "source.gguf", to="gguf")
        path = tmp_path / "source.gguf"
    report = quantize(path, tmp_path / "packed", format="q4", gptq=True)  # as load_model packs a small model
    assert report.bytes > 0 and report.calibrated and report.gptq
    before, after = qwen7b.load(path, quantize="none"), qwen7b.load(tmp_path / "packed")
    assert torch.equal(logits(after.model), logits(load_model(path, quantize="q4")))
    assert after.config == before.config and after.default_sampling == before.default_sampling
    assert after.is_chat == before.is_chat and after.stop_ids == before.stop_ids
    text = "hello 你好 <|im_end|>"
    assert after.tokenizer.encode(text) == before.tokenizer.encode(text)
    assert torch.equal(logits(load_model(tmp_path / "packed", quantize="auto")), logits(after.model))


@pytest.mark.filterwarnings("ignore:.*is taken for the tokenizer")
@pytest.mark.parametrize("name", ["Qwen_tokenizer.json", "tokenizer/tokenizer.json", "vocab.json", "Qwen-vocab.json"])
def test_a_packed_folder_has_the_tokenizer_whatever_its_name(tmp_path: Path, name: str) -> None:
    source = tiny.write_folder(tmp_path / "source", tiny.V11_CONFIG, tiny.qwen_tensors())
    (source / name).parent.mkdir(exist_ok=True)
    if name.endswith("tokenizer.json"):
        tiny.write_tokenizer_json(source / name)
    else:
        tiny.write_vocab_json(source, before=name.removesuffix("vocab.json"))
    expected = load_tokenizer(source).encode("the hell")
    quantize(source, tmp_path / "packed", format="q8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has a usual name there
        tokenizer = load_tokenizer(tmp_path / "packed")
    assert tokenizer.encode("the hell") == expected and tokenizer.vocab_size == 269


def test_tensors_begin_at_multiples_of_64(source: Path, tmp_path: Path) -> None:
    quantize(source, tmp_path / "packed", format="q4", calibration_text="")
    model = load_model(tmp_path / "packed")
    assert all(matrix.codes.data_ptr() % 64 == 0 for matrix in matrices(model).values())
    from safetensors.torch import load_file  # what others make of the file

    tensors = load_file(tmp_path / "packed" / "model.safetensors")
    assert torch.equal(tensors["layers.0.attention.qkv.codes"], model.layers[0].attention.qkv.codes)


@torch.inference_mode()
def test_a_packed_folder_unpacks_into_floats(source: Path, tmp_path: Path) -> None:
    """So that it can be converted and compared like any other."""
    quantize(source, tmp_path / "packed", format="q4", calibration_text="")
    checkpoint = open_checkpoint(tmp_path / "packed")
    matrix = load_model(checkpoint).layers[1].feed_forward.down.matrix
    _, stored = checkpoint.tensors["layers.1.feed_forward.down.weight"]
    assert torch.equal(stored.read_rows(5, 40), matrix.dequantize()[5:40])


def test_packed_again(source: Path, tmp_path: Path) -> None:
    quantize(source, tmp_path / "packed", format="q8")
    message = refusal(SettingError, tmp_path / "packed", tmp_path / "again", format="q4")
    assert "is packed as q8 already" in message
    with pytest.raises(SettingError, match="is packed as q8 already: quantize the original checkpoint as q4"):
        load_model(tmp_path / "packed", quantize="q4")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "q3"}, "must be one of q8, q4, nf4, found 'q3'"),
        ({"format": "q8", "gptq": True}, "only q4 takes a calibration text or gptq"),
        ({"format": "nf4", "calibration_text": "x"}, "only q4 takes"),
        ({"format": "q4", "gptq": True, "calibration_text": ""}, "gptq needs a calibration text"),
    ],
)
def test_quantize_settings_that_make_no_sense(
    source: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    assert message in refusal(SettingError, source, tmp_path / "packed", **settings)
    assert not (tmp_path / "packed").exists()


def test_targets_that_are_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert "exists already" in refusal(SettingError, source, tmp_path / "there", format="q8")
    assert "lies in the source" in refusal(SettingError, source, source / "packed", format="q8")


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_a_quantization_that_ends_early_leaves_nothing(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    end: BaseException,
) -> None:
    from qwen7b.convert import quantizing

    real = quantizing.pack_checkpoint  # type: ignore[attr-defined]

    def fail(*arguments: Any) -> None:
        real(*arguments)
        raise end

    monkeypatch.setattr(quantizing, "pack_checkpoint", fail)
    with pytest.raises((KeyboardInterrupt, ResourceError)) as caught:
        quantize(source, tmp_path / "packed", format="q8")
    if isinstance(end, OSError):
        assert str(caught.value).endswith("packed is full: make room and run the same command again")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    monkeypatch.undo()
    capsys.readouterr()
    quantize(source, tmp_path / "packed", format="q8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed", "source"]
    assert "anew" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "is damaged or incomplete"),
        ("cut to nothing", "is damaged or incomplete"),
        ("other version", f"is of version 99 of packed weights, while this qwen7b reads {VERSION}"),
        ("other version inside", "holds weights of format q4, version 0"),
        ("other format", f"holds weights of format q4, version {VERSION}, but this qwen7b reads q8"),
        ("unknown format", "is damaged"),
        ("other sizes", "does not hold the tensors of its config"),
        ("nonsense sizes", "is damaged"),
        ("no weights", "has no model.safetensors"),
    ],
)
def test_damaged_folders_are_refused(source: Path, tmp_path: Path, damage: str, message: str) -> None:
    folder = tmp_path / "packed"
    quantize(source, folder, format="q4", calibration_text="")
    weights, config = folder / "model.safetensors", json.loads((folder / "config.json").read_text())
    if damage == "truncated":
        os.truncate(weights, weights.stat().st_size - 1)
    elif damage == "cut to nothing":
        os.truncate(weights, 0)
    elif damage == "other version":
        config["qwen7b_packed"] = 99
    elif damage == "other version inside":
        make_other_version(weights)
    elif damage == "other format":
        config["weight_format"] = "q8"
    elif damage == "unknown format":
        config["weight_format"] = "q2"
    elif damage == "other sizes":
        config["model"]["num_layers"] = 1
    elif damage == "nonsense sizes":
        config["model"]["num_layers"] = -1
    else:
        weights.unlink()
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


# Calibration


@KINDS
@pytest.mark.parametrize("gptq", [False, True])
def test_calibration_lowers_the_error_where_the_text_is(tmp_path: Path, kind: str, gptq: bool) -> None:
    path = write_source(tmp_path / "source", kind)
    text = "the hell in the her 你好 " * 40
    quantize(path, tmp_path / "free", format="q4", calibration_text="")
    report = quantize(path, tmp_path / "calibrated", format="q4", calibration_text=text, gptq=gptq)
    assert (report.calibrated, report.gptq) == (True, gptq)
    exact, free, calibrated = (load_model(tmp_path / name) for name in ("source", "free", "calibrated"))
    ids = torch.tensor(qwen7b.load_tokenizer(path).encode(text))[None, :60]
    with torch.inference_mode():
        expected = exact.hidden(ids)
        errors = [(model.hidden(ids) - expected).norm() for model in (free, calibrated)]
    assert errors[1] < (errors[0] if gptq else 1.2 * errors[0])


def test_calibrated_tensors_are_all_there_whatever_the_head(tmp_path: Path) -> None:
    for kind in ("qwen", "qwen2"):
        path = write_source(tmp_path / kind, kind)
        quantize(path, tmp_path / f"{kind}-packed", format="q4", calibration_text="the hell")
        checkpoint = open_checkpoint(tmp_path / f"{kind}-packed")
        assert checkpoint.packed is not None
        tensors = map_packed(
            checkpoint.path / "model.safetensors", config=checkpoint.config, format=checkpoint.packed.format
        )
        assert ("head.codes" in tensors) == (kind == "qwen")


def test_the_default_text_is_of_several_kinds() -> None:
    text = calibration.default_text()
    assert len(text) > 10_000 and "def " in text and "的" in text and "<|im_start|>" in text


def test_sequences_are_of_one_length(source: Path) -> None:
    tokenizer = qwen7b.load_tokenizer(source)
    ids = calibration.token_sequences(tokenizer, "hello " * 100, trained_length=64)
    assert ids.shape[1] <= 64 and ids.numel() > 0.9 * len(tokenizer.encode("hello " * 100))
