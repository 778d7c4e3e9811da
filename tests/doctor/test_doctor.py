"""The doctor: what it says of healthy checkpoints, what it finds in ill ones, and what it mends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from gguf_files import write_gguf
from qwen7b.checkpoint import open_checkpoint
from qwen7b.convert import quantize
from qwen7b.doctor import Diagnosis, diagnose, fix
from qwen7b.errors import CheckpointError, ModelNotFoundError, ResourceError, SettingError
from qwen7b.hub.fetch import model_path
from qwen7b.hub.known import KNOWN_MODELS
from qwen7b.loading import load_model

END_OF_TEXT, IM_START, IM_END = 266, 267, 268
CHAT = {"chat_format": "chatml", "eos_token_id": [END_OF_TEXT, IM_START, IM_END], "max_new_tokens": 24}


def write(folder: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor], **settings: Any) -> Path:
    return tiny.write_folder(folder, config, tensors, **{"tokenizer": True, "generation": CHAT, **settings})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A healthy chat model of the first generation in two shards."""
    return write(tmp_path / "model", tiny.V11_CONFIG, tiny.qwen_tensors(), shards=2)


def change_json(path: Path, **changes: Any) -> None:
    """Set fields of a JSON file; None drops one."""
    fields = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    for shard in folder.glob("*.safetensors"):
        tensors = {name: tensor.clone() for name, tensor in load_file(shard).items()}
        change(tensors)
        save_file(tensors, shard)


def errors(diagnosis: Diagnosis) -> list[str]:
    return [finding.message for finding in diagnosis.findings if finding.severity == "error"]


def warnings_of(diagnosis: Diagnosis) -> list[str]:
    return [finding.message for finding in diagnosis.findings if finding.severity == "warning"]


def only_error(path: Path, **settings: Any) -> str:
    [message] = errors(diagnose(path, **settings))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("damage", [None, "truncated", "version"])
def test_packed_folders(folder: Path, tmp_path: Path, damage: str | None) -> None:
    packed = tmp_path / "packed"
    quantize(folder, packed, format="q8")
    if damage == "truncated":
        os.truncate(packed / "model.safetensors", 10_000)
        assert "is damaged or incomplete" in only_error(packed)
    elif damage == "version":
        change_json(packed / "config.json", qwen7b_packed=0)
        assert "is of version 0 of packed weights" in only_error(packed)
    else:
        found = diagnose(packed)
        assert found.is_healthy and found.facts["precision"] == ["q8"]
        assert found.facts["parameters"] == diagnose(folder).facts["parameters"]


# --- healthy ones --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "shards", "pickled", "generation"),
    [
        (tiny.V11_CONFIG, 1, False, "since 2023-09"),
        (tiny.V11_CONFIG, 3, False, "since 2023-09"),
        (tiny.V10_CONFIG, 1, True, "of the first release"),
        (tiny.V10_CONFIG, 2, True, "of the first release"),
    ],
)
def test_healthy_first_generation(
    tmp_path: Path, config: dict[str, Any], shards: int, pickled: bool, generation: str
) -> None:
    tensors = tiny.qwen_tensors()
    found = diagnose(write(tmp_path, config, tensors, shards=shards, pickled=pickled))
    assert found.is_healthy and not found.findings
    assert found.usage[0] == f"qwen7b chat --model {tmp_path}"
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert found.facts == {
        "family": "qwen",
        "model": "first-generation Qwen",
        "generation": generation,
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "precision": ["float32"],
        "layers": 2,
        "rows": 320,
        "tokens": 269,
        "trained_length": 64,
        "context_length": 512,
        "chat": True,
        "files": len(list(tmp_path.iterdir())),
        "bytes": size,
    }


def test_healthy_qwen2_and_llama(tmp_path: Path) -> None:
    qwen2 = diagnose(write(tmp_path / "qwen2", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), generation=None))
    assert not qwen2.findings and qwen2.facts["family"] == "qwen2" and qwen2.facts["chat"]
    llama = diagnose(write(tmp_path / "llama", tiny.LLAMA_CONFIG, tiny.qwen2_tensors(bias=False, head=True)))
    assert not llama.findings and llama.facts["model"] == "Llama-shaped"


def test_base_model_is_to_complete(folder: Path) -> None:
    change_json(folder / "generation_config.json", chat_format="raw")
    found = diagnose(folder)
    assert found.facts["chat"] is False and found.usage[0].startswith("qwen7b complete")


@pytest.mark.parametrize("name", ["v11-long", "v11-plain", "v10-long"])
def test_golden_folders_lack_nothing_but_a_tokenizer(golden: Path, name: str) -> None:
    assert "has no tokenizer" in only_error(golden / name)


def test_a_known_model_that_is_not_what_was_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged disk leaves size and time as they were, by which starts know a file."""
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path))
    path = model_path(KNOWN_MODELS["demo"])
    path.parent.mkdir(parents=True)
    write_gguf(path, tiny.qwen2_tensors(), family="qwen2")
    damage = [f"{path} is damaged: by its sha256 it is not demo as published"]
    assert [message.partition(",")[0] for message in errors(diagnose(path)) if "sha256" in message] == damage
    assert not any("sha256" in message for message in errors(diagnose(path.rename(tmp_path / "other.gguf"))))


@pytest.mark.demo
def test_demo_is_healthy(demo_gguf: Path) -> None:
    found = diagnose(demo_gguf)
    assert found.kind == "GGUF file" and not found.findings
    assert (found.facts["tokens"], found.facts["rows"], found.facts["chat"]) == (151665, 151936, True)
    assert "Q4_K" in found.facts["precision"]


def test_tokenizer_alone(tmp_path: Path) -> None:
    path = tiny.write_tokenizer_json(tmp_path / "tokenizer.json")
    for given in (path, tmp_path):
        found = diagnose(given)
        assert (found.kind, found.facts["tokens"], found.facts["chatml"]) == ("tokenizer", 269, True)
        assert not found.findings
    path.write_text("{")
    assert "not valid JSON" in only_error(path)


def test_one_shard_says_that_it_is_one(folder: Path) -> None:
    shard = folder / "model-00001-of-00002.safetensors"
    found = diagnose(shard)
    assert found.kind == "weight file" and "give its folder" in warnings_of(found)[0]
    shard.write_bytes(b"")
    assert "damaged or incomplete" in only_error(shard)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt"])
def test_a_pickled_file_of_any_suffix(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"model{suffix}"
    torch.save(tiny.qwen_tensors(), file)
    found = diagnose(file)
    assert found.kind == "weight file" and found.facts["tensors"] == 19 and found.is_healthy
    with pytest.raises(CheckpointError, match="is a part of a checkpoint: give the folder that holds it"):
        open_checkpoint(file)


def test_what_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        diagnose(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("x")
    assert "neither a checkpoint nor an adapter nor a tokenizer" in only_error(tmp_path)
    assert "is not a GGUF file" in only_error(tmp_path / "notes.txt")
    assert diagnose(tmp_path / "notes.txt").kind == "unknown"
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    assert "damaged or incomplete" in only_error(tmp_path) and diagnose(tmp_path).kind == "GGUF file"
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    assert "holds several models (a.gguf, b.gguf)" in only_error(tmp_path)


def test_a_base_is_for_adapters(folder: Path) -> None:
    found = diagnose(folder, base=folder)
    assert any("is not an adapter" in warning for warning in warnings_of(found)) and found.is_healthy


# --- findings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("config", "bias"), [(tiny.V11_CONFIG, ".c_attn.bias"), (tiny.QWEN2_CONFIG, "_proj.bias")])
def test_dropped_biases(tmp_path: Path, config: dict[str, Any], bias: str) -> None:
    tensors = tiny.qwen_tensors() if config is tiny.V11_CONFIG else tiny.qwen2_tensors()
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(bias)}
    found = diagnose(write(tmp_path, config, kept))
    assert "lacks the biases of query, key and value in 2 of 2 layers" in errors(found)[0]
    assert all(finding.repair is None for finding in found.findings)


def test_qwen_made_a_llama(tmp_path: Path) -> None:
    tensors = tiny.qwen2_tensors(bias=False, head=True)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = torch.zeros(151936, tiny.HIDDEN, dtype=torch.bfloat16)
    folder = write(tmp_path, {**tiny.LLAMA_CONFIG, "vocab_size": 151936}, tensors)
    found = diagnose(folder)
    assert found.is_healthy and "Llama with Qwen's vocabulary" in warnings_of(found)[0]


def test_missing_and_truncated_shards_are_told_together(tmp_path: Path) -> None:
    folder = write(tmp_path, tiny.V11_CONFIG, tiny.qwen_tensors(), shards=4)
    (folder / "model-00002-of-00004.safetensors").unlink()
    shard = folder / "model-00003-of-00004.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    (folder / "model-00004-of-00004.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )
    said = errors(diagnose(folder))
    assert len(said) == 3
    assert "lacks 1 of 4 shards (model-00002-of-00004.safetensors)" in said[0]
    assert "damaged or incomplete" in said[1] and "Git LFS pointer" in said[2]


def test_file_that_cannot_be_read(folder: Path) -> None:
    for shard in folder.glob("*.safetensors"):
        shard.unlink()
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model.safetensors").mkdir()
    assert "model.safetensors cannot be read" in only_error(folder)


def test_index_that_names_other_tensors(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    change_json(index, weight_map={**weight_map, "transformer.h.9.ln_1.weight": "model-00001-of-00002.safetensors"})
    found = diagnose(folder)
    assert found.is_healthy and "lacks tensor 'transformer.h.9.ln_1.weight'" in warnings_of(found)[0]
    change_tensors(folder, lambda tensors: tensors.pop("transformer.h.1.ln_1.weight", None))
    assert "lacks tensors for layers.1.attention_norm.weight" in only_error(folder)


def test_pickle_that_wants_to_run_code(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", tiny.V10_CONFIG, {}, pickled=True)
    torch.save({"transformer.wte.weight": Exploit(tmp_path / "ran")}, folder / "pytorch_model.bin")
    assert "it wants to run code" in only_error(folder)
    assert not (tmp_path / "ran").exists()


class Exploit:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.marker),))


def test_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": {}}')
    said = only_error(folder)
    assert "tokenizer.json" in said and "--tokenizer" in said


def test_tokenizer_with_more_tokens_than_rows(tmp_path: Path) -> None:
    tensors = tiny.qwen_tensors()
    for name in ("transformer.wte.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:200].clone()
    folder = write(tmp_path, {**tiny.V11_CONFIG, "vocab_size": 200}, tensors)
    assert "tokenizer of 269 tokens but a model of 200 rows" in only_error(folder)


def test_head_of_other_rows_than_the_embedding(folder: Path) -> None:
    def shorten(tensors: dict[str, torch.Tensor]) -> None:
        if "lm_head.weight" in tensors:
            tensors["lm_head.weight"] = tensors["lm_head.weight"][:300].clone()

    change_tensors(folder, shorten)
    assert "'lm_head.weight' is of shape [300, 64], but the config asks for [320, 64]" in only_error(folder)


def test_numbers_that_are_none(folder: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            if name.endswith("ln_1.weight"):
                tensor[3] = float("nan")
            if name.endswith("ln_f.weight"):
                tensor.zero_()

    change_tensors(folder, spoil)
    said = errors(diagnose(folder))
    assert "holds inf or nan (and 1 more like it)" in said[0] and "ln_f.weight' is all zeros" in said[1]


def test_chat_model_that_ends_only_at_end_of_text(folder: Path) -> None:
    change_json(folder / "generation_config.json", eos_token_id=END_OF_TEXT)
    found = diagnose(folder)
    assert found.is_healthy and "ends replies only at 266" in warnings_of(found)[0]


def test_remote_code_is_named(folder: Path) -> None:
    (folder / "modeling_qwen.py").write_text("raise SystemExit")
    change_json(folder / "config.json", auto_map={"AutoModel": "modeling_qwen.QWenLMHeadModel"})
    [warning] = warnings_of(diagnose(folder))
    assert "never runs (modeling_qwen.py, auto_map in config.json)" in warning


def test_code_of_the_other_release(folder: Path) -> None:
    (folder / "configuration_qwen.py").write_text("class QWenConfig:\n    def __init__(self, n_embd=4096): ...\n")
    assert "config.json is since 2023-09 but" in warnings_of(diagnose(folder))[0]


def test_unfinished_downloads(folder: Path) -> None:
    (folder / "model-00003.safetensors.incomplete").write_bytes(b"")
    assert "unfinished downloads (model-00003.safetensors.incomplete)" in warnings_of(diagnose(folder))[0]


def test_tensors_of_another_model(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {**tiny.V11_CONFIG}, tiny.qwen2_tensors())
    assert "has the tensors of Qwen2 and Llama but a config of model_type 'qwen'" in only_error(folder)
    tensors = {**tiny.qwen_tensors(), "transformer.h.0.attn.c_attn.lora_A.weight": torch.zeros(8, 64)}
    assert "lora_A" in only_error(write(tmp_path / "b", tiny.V11_CONFIG, tensors))


def test_model_that_is_not_run(folder: Path) -> None:
    change_json(folder / "config.json", model_type="bert")
    found = diagnose(folder)
    assert "model_type 'bert'" in errors(found)[0]


def test_settings_that_cannot_be_read(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{")
    (folder / "config.json").write_text("{")
    said = errors(diagnose(folder))
    assert len(said) == 2 and all("not valid JSON" in message for message in said)
    (folder / "config.json").unlink()
    assert any("has no config.json" in message for message in errors(diagnose(folder)))


def test_other_quantizations(folder: Path) -> None:
    change_json(folder / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert "quantized by bitsandbytes" in errors(diagnose(folder))[0]


def test_gptq(tmp_path: Path) -> None:
    tensors = tiny.qwen_tensors()
    name = "transformer.h.0.mlp.w1"
    del tensors[f"{name}.weight"]
    tensors |= {
        f"{name}.qweight": torch.zeros(8, 96, dtype=torch.int32),
        f"{name}.qzeros": torch.zeros(2, 12, dtype=torch.int32),
        f"{name}.scales": torch.ones(2, 96, dtype=torch.float16),
    }
    quantization = {"bits": 4, "group_size": 32, "quant_method": "gptq"}
    found = diagnose(write(tmp_path, {**tiny.V11_CONFIG, "quantization_config": quantization}, tensors))
    assert found.is_healthy and "auto-gptq" in warnings_of(found)[0]
    assert found.facts["quantization"] == {"method": "gptq", "bits": 4, "group_size": 32}
    assert found.facts["precision"] == ["float32", "GPTQ Int4"]


# --- repairs -------------------------------------------------------------------------------------------------------


def mended(folder: Path, tmp_path: Path, **settings: Any) -> Diagnosis:
    """The diagnosis of the mended copy; the source is as it was."""
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    fix(diagnose(folder, **settings), tmp_path / "mended")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert {entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")} == set()
    return diagnose(tmp_path / "mended")


def same_logits(folder: Path, expected: Path) -> bool:
    ids = torch.arange(1, 90)[None]
    with torch.inference_mode():
        return torch.equal(load_model(folder)(ids), load_model(expected)(ids))


@pytest.mark.parametrize("pickled", [False, True])
def test_index_is_restored(tmp_path: Path, pickled: bool) -> None:
    tensors = tiny.qwen_tensors()
    whole = write(tmp_path / "whole", tiny.V11_CONFIG, tensors)
    folder = write(tmp_path / "model", tiny.V11_CONFIG, tensors, shards=3, pickled=pickled)
    next(folder.glob("*.index.json")).unlink()
    found = diagnose(folder)
    assert found.is_healthy and "has no index that says what its shards hold" in warnings_of(found)[0]
    assert not mended(folder, tmp_path).findings
    assert same_logits(tmp_path / "mended", whole)


def test_index_is_not_made_up_where_a_shard_is_missing(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", tiny.V11_CONFIG, tiny.qwen_tensors(), shards=3)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert fix(diagnose(folder), tmp_path / "mended") == [] and not (tmp_path / "mended").exists()


MIXED = {name: value for name, value in tiny.V11_CONFIG.items() if name not in ("num_attention_heads", "vocab_size")}


@pytest.mark.parametrize(
    "config",
    [
        {**MIXED, "n_head": 4},
        {**tiny.V11_CONFIG, "intermediate_size": tiny.FEED_FORWARD, "num_hidden_layers": 7},
        {**{name: value for name, value in tiny.V10_CONFIG.items() if name != "ffn_hidden_size"}, "n_embd": 4096},
        {**tiny.V11_CONFIG, "model_type": "qwen2"},
        {**tiny.V11_CONFIG, "hidden_size": 2 * tiny.HIDDEN, "num_attention_heads": 2 * tiny.HEADS},
    ],
    ids=["mixed", "sizes", "first release", "other model", "larger model"],
)
def test_config_is_made_to_fit_the_tensors(tmp_path: Path, config: dict[str, Any]) -> None:
    tensors = tiny.qwen_tensors()
    whole = write(tmp_path / "whole", tiny.V11_CONFIG, tensors)
    folder = write(tmp_path / "model", config, tensors)
    assert not diagnose(folder).is_healthy
    assert not mended(folder, tmp_path).findings
    assert same_logits(tmp_path / "mended", whole)


def test_config_of_qwen2_is_made_from_qwens_keys(tmp_path: Path) -> None:
    tensors = tiny.qwen2_tensors()
    whole = write(tmp_path / "whole", tiny.QWEN2_CONFIG, tensors)
    folder = write(tmp_path / "model", {**tiny.V11_CONFIG, "max_position_embeddings": 128}, tensors)
    assert not mended(folder, tmp_path).findings
    assert same_logits(tmp_path / "mended", whole)


def test_heads_that_nothing_shows_are_not_guessed(tmp_path: Path) -> None:
    larger = {**tiny.QWEN2_CONFIG, "hidden_size": 2 * tiny.HIDDEN, "num_attention_heads": 2 * tiny.HEADS}
    folder = write(tmp_path / "model", larger, tiny.qwen2_tensors())
    assert fix(diagnose(folder), tmp_path / "mended") == [] and not diagnose(folder).is_healthy


def test_llama_with_biases_becomes_the_qwen2_that_it_is(tmp_path: Path) -> None:
    tensors = tiny.qwen2_tensors(head=True)
    whole = write(tmp_path / "whole", {**tiny.QWEN2_CONFIG, "tie_word_embeddings": False}, tensors)
    extra = {f"model.layers.{layer}.self_attn.o_proj.bias": torch.zeros(tiny.HIDDEN) for layer in range(tiny.LAYERS)}
    folder = write(tmp_path / "model", {**tiny.LLAMA_CONFIG, "attention_bias": True}, {**tensors, **extra})
    assert "attention_bias" in only_error(folder)
    assert not mended(folder, tmp_path).findings
    assert same_logits(tmp_path / "mended", whole)


def test_everything_at_once(folder: Path, tmp_path: Path) -> None:
    (folder / "modeling_qwen.py").write_text("raise SystemExit")
    (folder / "tokenizer.json").unlink()
    change_json(folder / "config.json", auto_map={"AutoModel": "modeling_qwen.QWenLMHeadModel"})
    spare = tmp_path / "base"
    spare.mkdir()
    tiny.write_tokenizer_json(spare / "tokenizer.json")
    (spare / "tokenizer_config.json").write_text(json.dumps({"auto_map": {}, "padding_side": "left"}))
    assert not mended(folder, tmp_path, tokenizer=spare).findings
    assert sorted(file.name for file in (tmp_path / "mended").iterdir()) == [
        "config.json",
        "generation_config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert json.loads((tmp_path / "mended" / "tokenizer_config.json").read_text()) == {"padding_side": "left"}


def test_stop_ids_are_completed(folder: Path, tmp_path: Path) -> None:
    change_json(folder / "generation_config.json", eos_token_id=END_OF_TEXT)
    assert not mended(folder, tmp_path).findings
    written = json.loads((tmp_path / "mended" / "generation_config.json").read_text())
    assert written == CHAT


@pytest.mark.parametrize("name", ["tokenizer.json", "Qwen_tokenizer.json", "tokenizer/tokenizer.json"])
@pytest.mark.parametrize("as_file", [False, True])
def test_a_spare_tokenizer_of_any_name(tmp_path: Path, name: str, as_file: bool) -> None:
    folder = write(tmp_path / "model", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=False)
    spare = tmp_path / "spare" / name
    spare.parent.mkdir(parents=True)
    tiny.write_tokenizer_json(spare)
    mended_folder = mended(folder, tmp_path, tokenizer=spare if as_file else tmp_path / "spare")
    assert not mended_folder.findings and mended_folder.facts["tokens"] == 269


@pytest.mark.parametrize("before", ["", "Qwen-"])
@pytest.mark.parametrize("as_file", [False, True])
def test_a_spare_tokenizer_of_several_files(tmp_path: Path, before: str, as_file: bool) -> None:
    folder = write(tmp_path / "model", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=False)
    spare = tiny.write_vocab_json(tmp_path / "spare", before=before)
    mended_folder = mended(folder, tmp_path, tokenizer=spare if as_file else spare.parent)
    assert not mended_folder.findings and mended_folder.facts["tokens"] == 269


def test_a_tokenizer_that_does_not_fit_is_no_repair(tmp_path: Path) -> None:
    tensors = tiny.qwen_tensors()
    for name in ("transformer.wte.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:200].clone()
    folder = write(tmp_path / "model", {**tiny.V11_CONFIG, "vocab_size": 200}, tensors, tokenizer=False)
    spare = tiny.write_tokenizer_json(tmp_path / "tokenizer.json")
    found = diagnose(folder, tokenizer=spare)
    assert "tokenizer of 269 tokens but a model of 200 rows" in errors(found)[0]
    assert fix(found, tmp_path / "mended") == []


def test_a_mended_copy_shares_nothing_with_its_source(tmp_path: Path) -> None:
    tensors = tiny.qwen_tensors()
    tensors["transformer.wte.weight"] = torch.rand(40000, tiny.HIDDEN)
    tensors["lm_head.weight"] = torch.rand(40000, tiny.HIDDEN)
    folder = write(tmp_path / "model", {**tiny.V11_CONFIG, "vocab_size": 40000}, tensors)
    (folder / "modeling_qwen.py").write_text("")
    assert not mended(folder, tmp_path).findings
    for file in (tmp_path / "mended").iterdir():
        before = (folder / file.name).read_bytes()
        with file.open("r+b") as copy:
            copy.write(b"edited")
        assert (folder / file.name).read_bytes() == before
        assert file.stat().st_nlink == 1


def test_an_existing_target_and_a_failing_disk(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "modeling_qwen.py").write_text("")
    found = diagnose(folder)
    with pytest.raises(SettingError, match="exists already"):
        fix(found, folder)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(ResourceError, match="No space left"):
        fix(found, tmp_path / "mended")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
