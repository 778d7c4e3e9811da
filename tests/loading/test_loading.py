"""Reading checkpoints: every layout gives the same model, and every damage one clear sentence."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

import tiny
from gguf_files import write_gguf
from qwen7b.checkpoint import open_checkpoint
from qwen7b.doctor import diagnose
from qwen7b.errors import (
    CheckpointError,
    ModelNotFoundError,
    Qwen7bError,
    ResourceError,
    SettingError,
    UnsupportedError,
)
from qwen7b.files.safetensors_file import open_safetensors
from qwen7b.loading import load_model
from refusing import refused
from tiny import IDS, logits_of


def test_generations_shards_and_pickles_give_one_model(tmp_path: Path) -> None:
    tensors = tiny.qwen_tensors()
    expected = logits_of(tiny.write_folder(tmp_path / "v11", tiny.V11_CONFIG, tensors))
    for name, config, settings in (
        ("v10", tiny.V10_CONFIG, {}),
        ("sharded", tiny.V11_CONFIG, {"shards": 3}),
        ("pickled", tiny.V10_CONFIG, {"pickled": True}),
        ("pickled-sharded", tiny.V11_CONFIG, {"pickled": True, "shards": 2}),
    ):
        assert torch.equal(logits_of(tiny.write_folder(tmp_path / name, config, tensors, **settings)), expected), name


@pytest.mark.parametrize("generation", ["first", "qwen2"])
def test_a_head_that_is_said_to_be_tied_and_is_another_matrix_is_used(tmp_path: Path, generation: str) -> None:
    config, tensors, embedding = tiny.V11_CONFIG, tiny.qwen_tensors(), "transformer.wte.weight"
    if generation == "qwen2":
        config, tensors, embedding = tiny.QWEN2_CONFIG, tiny.qwen2_tensors(head=True), "model.embed_tokens.weight"
    untied = tiny.write_folder(tmp_path / "untied", {**config, "tie_word_embeddings": False}, tensors)
    said = tiny.write_folder(tmp_path / "said", {**config, "tie_word_embeddings": True}, tensors)
    with pytest.warns(UserWarning, match="sets tie_word_embeddings, but the output head .* is another matrix"):
        assert torch.equal(logits_of(said), logits_of(untied))
    with pytest.warns(UserWarning, match="is another matrix"):
        assert not open_checkpoint(said).config.tied_head
    found = diagnose(said)
    assert sum("is another matrix" in finding.message for finding in found.findings) == 1
    assert found.facts["parameters"] == diagnose(untied).facts["parameters"]
    tied = tiny.write_folder(
        tmp_path / "tied",
        {**config, "tie_word_embeddings": True},
        {**tensors, "lm_head.weight": tensors[embedding].clone()},
    )
    assert open_checkpoint(tied).config.tied_head


def test_a_llama_s_gguf_with_joint_query_key_and_value_is_refused(tmp_path: Path) -> None:
    """llama.cpp orders their rows otherwise there."""
    tensors = {
        name.replace("self_attn.q_proj", "attn_qkv"): tensor
        for name, tensor in tiny.qwen2_tensors(bias=False, head=True).items()
    }
    with pytest.raises(UnsupportedError, match="query, key and value of a Llama in one tensor"):
        open_checkpoint(write_gguf(tmp_path / "m.gguf", tensors, family="llama"))


def test_rows_that_are_there_twice_are_refused(tmp_path: Path) -> None:
    tensors = tiny.qwen2_tensors()
    joint = {
        f"model.layers.0.attn_qkv.{kind}": torch.cat(
            [tensors[f"model.layers.0.self_attn.{part}_proj.{kind}"] for part in "qkv"]
        )
        for kind in ("weight", "bias")
    }
    path = write_gguf(tmp_path / "m.gguf", tensors | joint, family="qwen2")
    with pytest.raises(CheckpointError, match=r"has the rows of layers.0.attention.qkv.* twice"):
        load_model(path)


def test_first_generation_is_qwen2_with_equal_heads(tmp_path: Path) -> None:
    """The same weights under Qwen2's names are the same function."""
    qwen = tiny.qwen_tensors()
    renamed = {
        "model.embed_tokens.weight": qwen["transformer.wte.weight"],
        "model.norm.weight": qwen["transformer.ln_f.weight"],
        "lm_head.weight": qwen["lm_head.weight"],
    }
    for layer in range(tiny.LAYERS):
        old, new = f"transformer.h.{layer}.", f"model.layers.{layer}."
        for kind in ("weight", "bias"):
            parts = qwen[f"{old}attn.c_attn.{kind}"].chunk(3)
            renamed |= {f"{new}self_attn.{n}_proj.{kind}": part.clone() for n, part in zip("qkv", parts, strict=True)}
        renamed |= {
            f"{new}input_layernorm.weight": qwen[f"{old}ln_1.weight"],
            f"{new}self_attn.o_proj.weight": qwen[f"{old}attn.c_proj.weight"],
            f"{new}post_attention_layernorm.weight": qwen[f"{old}ln_2.weight"],
            f"{new}mlp.up_proj.weight": qwen[f"{old}mlp.w1.weight"],
            f"{new}mlp.gate_proj.weight": qwen[f"{old}mlp.w2.weight"],
            f"{new}mlp.down_proj.weight": qwen[f"{old}mlp.c_proj.weight"],
        }
    plain = {**tiny.V11_CONFIG, "use_dynamic_ntk": False, "use_logn_attn": False}
    config = {**tiny.QWEN2_CONFIG, "num_key_value_heads": tiny.HEADS, "tie_word_embeddings": False}
    expected = logits_of(tiny.write_folder(tmp_path / "qwen", plain, qwen))
    assert torch.equal(logits_of(tiny.write_folder(tmp_path / "qwen2", config, renamed)), expected)


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_gguf_equals_its_folder(tmp_path: Path, family: str) -> None:
    tensors = tiny.qwen2_tensors(bias=family == "qwen2", head=family == "llama")
    config = tiny.QWEN2_CONFIG if family == "qwen2" else tiny.LLAMA_CONFIG
    expected = logits_of(tiny.write_folder(tmp_path / "folder", config, tensors))
    assert torch.equal(logits_of(write_gguf(tmp_path / "model.gguf", tensors, family=family)), expected)
    rounded = {name: rounded_to(tensor, "Q8_0") if tensor.dim() == 2 else tensor for name, tensor in tensors.items()}
    expected = logits_of(tiny.write_folder(tmp_path / "rounded", config, rounded))
    assert torch.equal(logits_of(write_gguf(tmp_path / "q8.gguf", tensors, family=family, quantize="Q8_0")), expected)


def rounded_to(tensor: torch.Tensor, name: str) -> torch.Tensor:
    kind = gguf.GGMLQuantizationType[name]
    return torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(tensor.numpy(), kind), kind))


@pytest.mark.parametrize("quantize", ["Q8_0", "Q4_0", "BF16", "F16"])
def test_gguf_with_norms_and_biases_in_blocks(tmp_path: Path, quantize: str) -> None:
    tensors = tiny.qwen2_tensors()
    kind = gguf.GGMLQuantizationType[quantize]
    file = write_gguf(tmp_path / "model.gguf", tensors, family="qwen2", quantize=quantize, vectors=True)
    norm = gguf.quants.dequantize(gguf.quants.quantize(tensors["model.norm.weight"].numpy(), kind), kind)
    assert torch.equal(load_model(file).norm.weight, torch.from_numpy(norm))
    assert not [finding for finding in diagnose(file).findings if "damaged" in finding.message]


def test_blocks_do_not_change_a_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = tiny.qwen2_tensors()
    folder = tiny.write_folder(tmp_path / "folder", tiny.QWEN2_CONFIG, tensors)
    file = write_gguf(tmp_path / "model.gguf", tensors, family="qwen2", quantize="Q4_0")
    expected = logits_of(folder), logits_of(file)
    monkeypatch.setattr("qwen7b.files.stored.BLOCK_BYTES", 1000)
    assert torch.equal(logits_of(folder), expected[0]) and torch.equal(logits_of(file), expected[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_dtype_is_the_one_asked_for(tmp_path: Path, dtype: torch.dtype) -> None:
    model = load_model(tiny.write_folder(tmp_path, tiny.V11_CONFIG, tiny.qwen_tensors()), dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert not model.training


def test_mapped_weights_are_the_files_own(tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tiny.qwen_tensors())
    model = load_model(folder, dtype=torch.float32, mapped=True)
    assert torch.equal(model(IDS), logits_of(folder))
    stored: Any = open_safetensors(next(folder.glob("*.safetensors")))["transformer.wte.weight"]
    with stored.path.open("r+b") as file:
        file.seek(stored.offset)
        file.write(torch.tensor([7.0]).numpy().tobytes())
    assert model.embedding.weight[0, 0] == 7
    with torch.no_grad():
        model.embedding.weight[0, 0] = 3
    assert stored.read_rows(0, 1)[0, 0] == 7
    assert load_model(folder, dtype=torch.bfloat16, mapped=True).embedding.weight[0, 0] == 7


def test_loading_holds_little_beside_the_model(tmp_path: Path) -> None:
    """Peak memory of a load stays within 1.15 of the model's own size, over what the libraries take."""
    big = {**tiny.V11_CONFIG, "vocab_size": 250_000, "hidden_size": 256, "num_attention_heads": 16}
    size = {"hidden_size": 256, "rows": 250_000}
    tensors = tiny.qwen_tensors(layers=0)
    for name, shape in (
        ("transformer.wte.weight", (size["rows"], 256)),
        ("lm_head.weight", (size["rows"], 256)),
        ("transformer.ln_f.weight", (256,)),
    ):
        tensors[name] = torch.ones(shape, dtype=torch.bfloat16)
    for layer in range(2):
        prefix = f"transformer.h.{layer}."
        for name, shape in (
            ("ln_1.weight", (256,)),
            ("attn.c_attn.weight", (768, 256)),
            ("attn.c_attn.bias", (768,)),
            ("attn.c_proj.weight", (256, 256)),
            ("ln_2.weight", (256,)),
            ("mlp.w1.weight", (96, 256)),
            ("mlp.w2.weight", (96, 256)),
            ("mlp.c_proj.weight", (256, 96)),
        ):
            tensors[prefix + name] = torch.ones(shape, dtype=torch.bfloat16)
    folder = tiny.write_folder(tmp_path, big, tensors)
    script = (
        "import resource, sys, torch\n"
        "from qwen7b.loading import load_model\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\n"
        "model = load_model(sys.argv[1], dtype=torch.float32)\n"
        "print((peak() - before) / sum(p.numel() * 4 for p in model.parameters()))\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 1.15


# --- what is wrong is said in one sentence -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tiny.qwen_tensors(), shards=2)


def test_missing_shard(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "lacks 1 of 2 shards (model-00002-of-00002.safetensors)" in refused(folder)


def test_shard_without_its_tensor(folder: Path) -> None:
    os.replace(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")
    (folder / "model-00001-of-00002.safetensors").write_bytes(
        (folder / "model-00002-of-00002.safetensors").read_bytes()
    )
    assert "lacks tensor" in refused(folder)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_safetensors(folder: Path, keep: int) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:keep])
    assert "damaged or incomplete" in refused(folder)


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[1]",
        b'{"a": 3}',
        b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 400]}}',
        b'{"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}',
        b'{"a": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}',
        b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0]}}',
        b'{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 16]}}',
    ],
)
def test_corrupted_safetensors_header(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        open_safetensors(path)


@pytest.mark.parametrize("keep", [3, 20, 400, -5])
def test_truncated_gguf(tmp_path: Path, keep: int) -> None:
    file = write_gguf(tmp_path / "model.gguf", tiny.qwen2_tensors(), family="qwen2")
    file.write_bytes(file.read_bytes()[:keep])
    refused(file)


class Exploit:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.marker),))


def test_pickle_that_wants_to_run_code(tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V10_CONFIG, {}, pickled=True)
    torch.save({"transformer.wte.weight": Exploit(tmp_path / "ran")}, folder / "pytorch_model.bin")
    assert "it wants to run code" in refused(folder)
    assert not (tmp_path / "ran").exists()


def test_pickle_of_tensors_that_are_not_plain(tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V10_CONFIG, {}, pickled=True)
    for tensor in (torch.eye(3).to_sparse(), torch.ones(2, dtype=torch.complex64)):
        torch.save({"transformer.wte.weight": tensor}, folder / "pytorch_model.bin")
        assert "dense tensors" in refused(folder, UnsupportedError)


@pytest.mark.parametrize("position", [300, 700, 1100, 1500])
def test_pickle_with_a_flipped_byte_is_one_error_or_none(tmp_path: Path, position: int) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V10_CONFIG, tiny.qwen_tensors(), pickled=True)
    data = bytearray((folder / "pytorch_model.bin").read_bytes())
    for offset in range(40):
        damaged = bytearray(data)
        damaged[position + offset] ^= 0x5A
        (folder / "pytorch_model.bin").write_bytes(damaged)
        with contextlib.suppress(Qwen7bError):
            load_model(folder)


def test_index_that_makes_no_sense(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "x" * 300}}))
    assert "lacks 1 of 1 shard " in refused(folder)
    index.write_text('{"weight_map":' * 100_000)
    assert "not valid JSON" in refused(folder)
    index.unlink()
    index.mkdir()
    assert "cannot be read" in refused(folder)


@pytest.mark.parametrize("data", [b"", b"garbage", b"PK\x03\x04 truncated"])
def test_damaged_pickle(tmp_path: Path, data: bytes) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V10_CONFIG, {}, pickled=True)
    (folder / "pytorch_model.bin").write_bytes(data)
    assert "damaged" in refused(folder)


def test_pickle_of_something_else(tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V10_CONFIG, {}, pickled=True)
    torch.save([1, 2], folder / "pytorch_model.bin")
    assert "not a dict of tensors" in refused(folder)


def test_config_of_neither_generation(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen", "hidden_size": 64, "n_layer": 2}))
    message = refused(folder)
    assert "first-generation Qwen" in message and "num_hidden_layers" in message and "ffn_hidden_size" in message


def write_config(folder: Path, **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({**tiny.V11_CONFIG, **changes}))
    return folder


def test_sizes_that_contradict_the_tensors(folder: Path) -> None:
    assert "is of shape [64, 96], but the config asks for [64, 48]" in refused(
        write_config(folder, intermediate_size=96)
    )
    assert "leaves no place for" in refused(write_config(folder, num_hidden_layers=1))
    assert "lacks tensors for layers.2" in refused(write_config(folder, num_hidden_layers=3))
    assert "[320, 64]" in refused(write_config(folder, vocab_size=512))


YARN = {"type": "yarn", "original_max_position_embeddings": 2**62}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "64"}, "hidden_size must be a number"),
        ({"num_hidden_layers": 0}, "num_layers must be a whole number from 1 to 1000, found 0"),
        ({"num_hidden_layers": 10**12}, "num_layers must be a whole number from 1 to 1000"),
        ({"kv_channels": 2**62}, "head_size must be a whole number"),
        ({"hidden_size": float("inf")}, "hidden_size must be a number"),
        ({"layer_norm_epsilon": 10**400}, "layer_norm_epsilon must be a number"),
        ({"num_hidden_layers": 4 * 10**18}, "num_layers must be a whole number from 1 to 1000"),
        ({"hidden_size": 10**4000}, "hidden_size must be a number (int), found a number of thousands of digits"),
        ({"hidden_size": [[[[[[64]]]]]]}, "hidden_size must be a number"),
        ({"use_dynamic_ntk": False, "rope_scaling": YARN | {"factor": 1e300}}, "trained_length must be a whole number"),
        ({"use_dynamic_ntk": False, "rope_scaling": YARN | {"factor": 10**400}}, "factor must be a number"),
        ({"kv_channels": 15}, "even head_size"),
        ({"intermediate_size": 191}, "must be even"),
        ({"layer_norm_epsilon": -1.0}, "norm_epsilon"),
        ({"use_logn_attn": "yes"}, "use_logn_attn must be true or false"),
    ],
)
def test_config_that_makes_no_sense(folder: Path, changes: dict[str, Any], message: str) -> None:
    assert message in refused(write_config(folder, **changes))


def test_a_qwen2_of_very_many_layers(tmp_path: Path) -> None:
    config = tiny.QWEN2_CONFIG | {"num_hidden_layers": 4 * 10**18}
    folder = tiny.write_folder(tmp_path / "model", config, tiny.qwen2_tensors())
    assert "num_layers must be a whole number from 1 to 1000" in refused(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert"}, "model_type 'bert'"),
        ({**tiny.QWEN2_CONFIG, "rope_scaling": {"type": "longrope", "factor": 4.0}}, "'longrope'"),
        ({**tiny.LLAMA_CONFIG, "use_sliding_window": True}, "use_sliding_window"),
        ({**tiny.V11_CONFIG, "rotary_pct": 0.5}, "rotary_pct"),
    ],
)
def test_model_that_is_not_run(folder: Path, config: dict[str, Any], message: str) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    assert message in refused(folder, UnsupportedError)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({**tiny.V11_CONFIG, "visual": {"layers": 48, "image_size": 448}}, "Qwen-VL.*'visual'"),
        ({**tiny.V11_CONFIG, "audio": {"n_layer": 32, "n_mels": 80}}, "Qwen-Audio.*'audio'"),
        ({**tiny.LLAMA_CONFIG, "mm_vision_tower": "openai/clip-vit-large-patch14"}, "Qwen-VL.*'mm_vision_tower'"),
        ({**tiny.QWEN2_CONFIG, "vision_config": {"depth": 32}}, "Qwen-VL.*'vision_config'"),
        ({**tiny.QWEN2_CONFIG, "audio_config": {"d_model": 1280}}, "Qwen-Audio.*'audio_config'"),
    ],
)
def test_models_that_see_or_hear_are_refused_by_name(tmp_path: Path, config: dict[str, Any], field: str) -> None:
    folder = tiny.write_folder(tmp_path, config, tiny.qwen_tensors())
    with pytest.raises(UnsupportedError, match=field):
        open_checkpoint(folder)


@pytest.mark.parametrize(("part", "model"), [("visual", "Qwen-VL"), ("audio", "Qwen-Audio")])
def test_tensors_of_another_sense_name_the_model(tmp_path: Path, part: str, model: str) -> None:
    tensors = {**tiny.qwen_tensors(), f"transformer.{part}.proj": torch.zeros(4, 4)}
    assert model in refused(tiny.write_folder(tmp_path, tiny.V11_CONFIG, tensors), UnsupportedError)


def test_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in refused(folder)
    (folder / "config.json").unlink()
    assert "has no config.json" in refused(folder)


def test_pickle_of_before_2020(tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path, tiny.V10_CONFIG, {}, pickled=True)
    tensors = tiny.qwen_tensors()
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert torch.equal(load_model(folder).embedding.weight, tensors["transformer.wte.weight"])


def test_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(tiny.V11_CONFIG))
    assert "holds no weights" in refused(tmp_path) and "found config.json" in refused(tmp_path)


def test_adapter_or_foreign_tensors(tmp_path: Path) -> None:
    tensors = {**tiny.qwen_tensors(), "transformer.h.0.attn.c_attn.lora_A.weight": torch.zeros(8, 64)}
    folder = tiny.write_folder(tmp_path, tiny.V11_CONFIG, tensors)
    assert "lora_A" in refused(folder) and "adapter" in refused(folder)


def test_buffers_of_old_exports_are_passed_over(tmp_path: Path) -> None:
    tensors = {**tiny.qwen_tensors(), "transformer.rotary_emb.inv_freq": torch.zeros(8)}
    load_model(tiny.write_folder(tmp_path, tiny.V11_CONFIG, tensors))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no file or folder"):
        open_checkpoint(tmp_path / "nothing")


def test_too_little_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = sum(tensor.numel() for tensor in tiny.qwen_tensors().values())
    monkeypatch.setattr("qwen7b.loading.loading.available_bytes", lambda device: weights * 3)
    assert "load it as bfloat16" in _memory_error(folder, dtype=torch.float32)
    with pytest.warns(UserWarning, match="loading as bfloat16"):
        assert load_model(folder).dtype == torch.bfloat16
    monkeypatch.setattr("qwen7b.loading.loading.available_bytes", lambda device: weights)
    assert "quantize it as q4" in _memory_error(folder)
    monkeypatch.setattr("qwen7b.loading.loading.available_bytes", lambda device: weights // 4)
    assert "load a smaller model" in _memory_error(folder)


def _memory_error(folder: Path, **settings: Any) -> str:
    with pytest.raises(ResourceError) as error:
        load_model(folder, **settings)
    return str(error.value)


def test_dtype_and_device_that_are_not_there(folder: Path) -> None:
    with pytest.raises(SettingError, match="dtype must be one of"):
        load_model(folder, dtype=torch.int8)
    with pytest.raises(SettingError, match="device 'nonsense' is not available"):
        load_model(folder, device="nonsense")
    with pytest.raises(SettingError, match="device 'meta' holds no weights"):
        load_model(folder, device="meta")
    with pytest.raises(SettingError, match="device None is not available"):
        load_model(folder, device=None)  # type: ignore[arg-type]
