"""Checkpoints of both generations in, unchanged names out, and code in a checkpoint never run."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tiny
from originals import TRAP

pytest.importorskip("transformers", reason="needs the extra hf")

import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, pipeline

import qwen7b.hf
from qwen7b.errors import CheckpointError, SettingError, UnsupportedError
from qwen7b.loading import load_model

IDS = torch.arange(20)[None]


def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(ids).logits
    return out


@pytest.mark.parametrize("trust_remote_code", [None, False, True])
def test_code_in_a_checkpoint_never_runs(
    qwen_chat_folder: Path, tmp_path: Path, trust_remote_code: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(qwen_chat_folder, tmp_path / "trapped")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(TRAP)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["auto_map"]["AutoModel"] = "modeling_qwen.QWenModel"
    config["custom_pipelines"] = {"text-generation": {"impl": "pipeline_qwen.Evil", "pt": ["AutoModelForCausalLM"]}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "pipeline_qwen.py").write_text(TRAP)
    trust: dict[str, Any] = {} if trust_remote_code is None else {"trust_remote_code": trust_remote_code}

    config = AutoConfig.from_pretrained(folder, **trust)
    assert type(config) is qwen7b.hf.QWenConfig and not hasattr(config, "auto_map")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, **trust)
    assert type(tokenizer) is qwen7b.hf.QWenTokenizer
    model: Any = AutoModelForCausalLM.from_pretrained(folder, **trust)
    assert type(model) is qwen7b.hf.QWenLMHeadModel and "generate" not in vars(model)
    assert type(AutoModelForCausalLM.from_config(config, **trust)) is qwen7b.hf.QWenLMHeadModel
    assert type(AutoModel.from_pretrained(folder, **trust)) is qwen7b.hf.QWenModel
    generation: Any = GenerationConfig.from_pretrained(folder, **trust)
    assert generation.chat_format == "chatml"
    pipe = pipeline("text-generation", model=str(folder), **trust)
    assert type(pipe) is transformers.TextGenerationPipeline and type(pipe.model) is qwen7b.hf.QWenLMHeadModel
    assert not [name for name in sys.modules if "transformers_modules" in name and "qwen" in name]


@pytest.mark.parametrize("config", [tiny.V11_CONFIG, tiny.V10_CONFIG], ids=["2023-09", "first"])
@pytest.mark.parametrize("layout", [{}, {"pickled": True}], ids=["safetensors", "bin"])
def test_both_generations_load_and_are_saved_with_their_names(
    tmp_path: Path, config: dict[str, Any], layout: dict[str, Any]
) -> None:
    tensors = tiny.qwen_tensors()
    buffers = {"transformer.rotary_emb.inv_freq": torch.ones(8), "transformer.h.0.attn.masked_bias": torch.ones(1)}
    folder = tiny.write_folder(tmp_path / "old", config, tensors | buffers, **layout)
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    model, info = loaded
    assert not any(info.values())
    assert torch.allclose(logits(model), load_model(folder)(IDS), atol=1e-5)
    model.save_pretrained(tmp_path / "new")
    saved = load_file(tmp_path / "new" / "model.safetensors")
    assert saved.keys() == tensors.keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in tensors.items())
    today = json.loads((tmp_path / "new" / "config.json").read_text(encoding="utf-8"))
    assert today["model_type"] == "qwen" and today["hidden_size"] == tiny.HIDDEN and "n_embd" not in today
    assert today["intermediate_size"] == 2 * tiny.FEED_FORWARD and today["seq_length"] == 64
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "new")), logits(model))
    assert torch.allclose(load_model(tmp_path / "new")(IDS), logits(model), atol=1e-5)
    assert model.config.n_embd == model.config.hidden_size == tiny.HIDDEN


def test_what_a_config_leaves_out_is_the_same_in_both_classes(tmp_path: Path) -> None:
    left_out = ("use_dynamic_ntk", "use_logn_attn", "kv_channels", "max_position_embeddings")
    config = {name: value for name, value in tiny.V11_CONFIG.items() if name not in left_out}
    folder = tiny.write_folder(tmp_path, config, tiny.qwen_tensors())
    long = torch.arange(200)[None] % tiny.ROWS  # beyond seq_length, where dynamic NTK and LogN would act
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        assert torch.allclose(model(long).logits, load_model(folder)(long), atol=1e-4)
    assert model.config.kv_channels == tiny.HEAD_SIZE and model.config.max_position_embeddings == 64


def test_shards_load_and_are_saved(golden: Path, tmp_path: Path) -> None:
    for name in ("v11-long", "v10-long"):
        model = AutoModelForCausalLM.from_pretrained(golden / name)
        model.save_pretrained(tmp_path / name, max_shard_size="200KB")
        assert len(list((tmp_path / name).glob("*.safetensors"))) > 1
        assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / name)), logits(model))


def test_the_padded_vocabulary_size_is_the_tensors(tmp_path: Path) -> None:
    config = {**tiny.V10_CONFIG, "vocab_size": 269}
    folder = tiny.write_folder(tmp_path, config, tiny.qwen_tensors())
    assert AutoModelForCausalLM.from_pretrained(folder).config.vocab_size == tiny.ROWS


def test_a_tied_head(tmp_path: Path) -> None:
    tensors = tiny.qwen_tensors()
    del tensors["lm_head.weight"]
    folder = tiny.write_folder(tmp_path / "tied", {**tiny.V11_CONFIG, "tie_word_embeddings": True}, tensors)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.lm_head.weight is model.transformer.wte.weight
    assert torch.allclose(logits(model), load_model(folder)(IDS), atol=1e-5)


def test_the_keywords_of_old_scripts(qwen_chat_folder: Path) -> None:
    """Of cli_demo.py, of the batch example, and of the one with an int8 cache."""
    pytest.importorskip("accelerate", reason="needs the extra hf")
    demo = {"trust_remote_code": True, "resume_download": True}
    tokenizer = AutoTokenizer.from_pretrained(
        qwen_chat_folder, pad_token="<|extra_0|>", eos_token="<|endoftext|>", padding_side="left", **demo
    )
    model = AutoModelForCausalLM.from_pretrained(
        qwen_chat_folder, pad_token_id=tokenizer.pad_token_id, device_map="auto", **demo
    ).eval()
    model.generation_config = GenerationConfig.from_pretrained(
        qwen_chat_folder, pad_token_id=tokenizer.pad_token_id, **demo, do_sample=False, top_p=None, top_k=None
    )
    assert model.config.pad_token_id == model.generation_config.pad_token_id == 151646
    texts = ["hello there, world", "你好"]
    together = model.generate(torch.LongTensor(tokenizer(texts, padding="longest")["input_ids"]))
    width = len(tokenizer(texts[0])["input_ids"])
    for text, row in zip(texts, together, strict=True):
        ids = torch.LongTensor([tokenizer(text)["input_ids"]])
        alone = model.generate(ids)[0, ids.shape[1] :]
        assert torch.equal(row[width:][: len(alone)], alone)
    with pytest.warns(UserWarning, match="use_cache_quantization is ignored"):
        AutoModelForCausalLM.from_pretrained(
            qwen_chat_folder, use_cache_quantization=True, use_cache_kernel=True, use_flash_attn=False
        )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"bf16": True}, torch.bfloat16),
        ({"fp16": True}, torch.float16),
        ({"fp32": True}, torch.float32),
        ({"dtype": torch.float16}, torch.float16),
        ({"torch_dtype": torch.float32}, torch.float32),
        ({"dtype": "float32", "bf16": True}, torch.float32),
        ({"bf16": False}, torch.bfloat16),
        ({}, torch.bfloat16),
        ({"device_map": "auto", "fp32": True}, torch.float32),
        ({"device_map": "cpu"}, torch.bfloat16),
    ],
)
def test_the_words_for_the_dtype(qwen_chat_folder: Path, settings: dict[str, Any], expected: torch.dtype) -> None:
    pytest.importorskip("accelerate", reason="needs the extra hf")
    for auto in (AutoModelForCausalLM, qwen7b.hf.QWenLMHeadModel):
        model = auto.from_pretrained(qwen_chat_folder, **settings)
        assert {parameter.dtype for parameter in model.parameters()} == {expected}
        assert model.config.dtype == expected and not hasattr(model.config, "bf16")


@pytest.mark.parametrize(("word", "dtype"), [("bf16", "bfloat16"), ("fp16", "float16"), ("fp32", "float32")])
def test_the_words_for_the_dtype_on_a_config(tmp_path: Path, word: str, dtype: str) -> None:
    """As in `config = AutoConfig.from_pretrained(…); config.fp32 = True`."""
    folder = tiny.write_folder(tmp_path / "model", {**tiny.V11_CONFIG, "torch_dtype": "bfloat16"}, tiny.qwen_tensors())
    config = AutoConfig.from_pretrained(folder)
    other = "fp16" if word == "bf16" else "bf16"
    setattr(config, other, True)
    setattr(config, word, True)
    setattr(config, other, False)
    expected = getattr(torch, dtype)
    assert AutoModelForCausalLM.from_pretrained(folder, config=config).dtype == config.dtype == expected
    assert AutoModelForCausalLM.from_config(config).dtype == expected
    assert qwen7b.hf.QWenConfig(**{word: True}).dtype == expected
    config.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text(encoding="utf-8"))
    assert saved["dtype"] == dtype and not {"bf16", "fp16", "fp32"} & saved.keys()
    with pytest.raises(SettingError, match="only one"):
        qwen7b.hf.QWenConfig(**{word: True, other: True})


SENSES = {"visual": {"layers": 48}, "audio": {"n_layer": 32}, "vision_config": {"width": 16}}


@pytest.mark.parametrize("field", SENSES)
def test_models_that_see_or_hear_are_refused_by_their_config(tmp_path: Path, field: str) -> None:
    folder = tiny.write_folder(tmp_path, {**tiny.V11_CONFIG, field: SENSES[field]}, tiny.qwen_tensors())
    for load in (AutoConfig.from_pretrained, AutoModelForCausalLM.from_pretrained):
        with pytest.raises(UnsupportedError, match=r"Qwen-(VL|Audio)"):
            load(folder, trust_remote_code=True)


@pytest.mark.parametrize("name", ["transformer.visual.conv1.weight", "transformer.audio.blocks.0.attn.query.weight"])
def test_models_that_see_or_hear_are_refused_by_their_tensors(tmp_path: Path, name: str) -> None:
    folder = tiny.write_folder(tmp_path, tiny.V11_CONFIG, tiny.qwen_tensors() | {name: torch.ones(2)})
    with pytest.raises(UnsupportedError, match=r"Qwen-(VL|Audio)"):
        AutoModelForCausalLM.from_pretrained(folder)


def test_token_type_ids_change_nothing(tiny_chat_checkpoint: Path) -> None:
    """Tokenizers of before gave them along."""
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint)
    inputs: dict[str, Any] = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    types = torch.ones_like(IDS)
    with torch.no_grad():
        assert torch.equal(model(**inputs, token_type_ids=types).logits, model(**inputs).logits)
    settings: dict[str, Any] = {"max_new_tokens": 4, "pad_token_id": 266}
    assert torch.equal(model.generate(**inputs, token_type_ids=types, **settings), model.generate(**inputs, **settings))


def test_a_dtype_that_the_file_names(tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path, {**tiny.V11_CONFIG, "fp16": True, "bf16": False}, tiny.qwen_tensors())
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.float16
    assert AutoModelForCausalLM.from_pretrained(folder, bf16=True).dtype == torch.bfloat16
    assert AutoModelForCausalLM.from_pretrained(folder, fp16=False).dtype == torch.float32
    with pytest.raises(SettingError, match=r"fp16 and fp32|bf16 and fp32"):
        AutoModelForCausalLM.from_pretrained(folder, bf16=True, fp32=True)


def test_gptq_is_told_where_to_go(tmp_path: Path) -> None:
    if find_spec("optimum"):
        pytest.skip("optimum is installed, so Transformers tries by itself")
    quantization = {"quant_method": "gptq", "bits": 4, "group_size": 32}
    folder = tiny.write_folder(tmp_path, {**tiny.V11_CONFIG, "quantization_config": quantization}, tiny.qwen_tensors())
    with pytest.raises(UnsupportedError, match=r"use qwen7b.load"):
        AutoModelForCausalLM.from_pretrained(folder)


def test_settings_of_the_config_as_keywords(golden: Path) -> None:
    """As in the original: the long-context rules can be turned off, and unused switches are accepted."""
    folder = golden / "v11-long"
    ids = load_file(folder / "cases.safetensors")["ids"][None, :200]
    off = AutoModelForCausalLM.from_pretrained(folder, use_dynamic_ntk=False, use_logn_attn=False, use_flash_attn=False)
    assert not torch.allclose(logits(off, ids), logits(AutoModelForCausalLM.from_pretrained(folder), ids), atol=1e-2)
    longer = AutoModelForCausalLM.from_pretrained(folder, seq_length=256)
    assert torch.allclose(logits(off, ids), logits(longer, ids), atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"no_bias": False}, UnsupportedError),
        ({"rotary_pct": 0.5}, UnsupportedError),
        ({"attention_windows": [8, 0]}, UnsupportedError),
        ({"intermediate_size": 191}, CheckpointError),
        ({"num_attention_heads": "four"}, CheckpointError),
        ({"hidden_size": None}, CheckpointError),
    ],
)
def test_configs_that_no_qwen_has_are_refused(tmp_path: Path, wrong: dict[str, Any], error: type[Exception]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**tiny.V11_CONFIG, **wrong}))
    with pytest.raises(error, match=r"config.json"):
        AutoConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(("sense", "model"), [("visual", "Qwen-VL"), ("audio", "Qwen-Audio")])
def test_models_that_see_or_hear_are_refused_by_name(tmp_path: Path, sense: str, model: str) -> None:
    config = {**tiny.V11_CONFIG, "architectures": ["QWenLMHeadModel"], sense: {"width": 1664}}
    folder = tiny.write_folder(tmp_path, config, tiny.qwen_tensors())
    with pytest.raises(UnsupportedError, match=model):
        AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)


def test_embeddings_can_grow_and_be_saved(tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint)
    before = logits(model)
    model.resize_token_embeddings(tiny.ROWS + 64, mean_resizing=False)
    assert torch.equal(logits(model)[..., : tiny.ROWS], before) and logits(model).shape[-1] == tiny.ROWS + 64
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), logits(model))


def test_a_new_model_from_a_config() -> None:
    config = qwen7b.hf.QWenConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, kv_channels=16, intermediate_size=64
    )
    model = AutoModelForCausalLM.from_config(config)
    assert logits(model).isfinite().all() and model.transformer.ln_f.weight.eq(1).all()
    assert qwen7b.hf.QWenConfig().num_hidden_layers == 32


def test_the_text_generation_pipeline(qwen_chat_folder: Path) -> None:
    pipe = pipeline("text-generation", model=str(qwen_chat_folder), dtype=torch.float32, trust_remote_code=True)
    assert type(pipe.tokenizer) is qwen7b.hf.QWenTokenizer
    settings: dict[str, Any] = {"do_sample": False, "suppress_tokens": list(range(151643, 151936))}
    text = pipe("蒙古国的首都是", **settings)[0]["generated_text"]
    assert text.startswith("蒙古国的首都是") and len(text) > 7
    several = pipe(["hello", "hello there, world"], batch_size=2, **settings)
    assert [one[0]["generated_text"] for one in several] == [
        pipe(prompt, **settings)[0]["generated_text"] for prompt in ("hello", "hello there, world")
    ]
    reply = pipe([{"role": "user", "content": "你好"}], **settings)[0]["generated_text"][-1]
    assert reply["role"] == "assistant" and reply["content"]


def test_outputs_of_all_layers(tiny_chat_checkpoint: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint, attn_implementation="eager")
    with torch.no_grad():
        out = model(IDS, output_hidden_states=True, output_attentions=True)
        assert len(out.hidden_states) == tiny.LAYERS + 1 and len(out.attentions) == tiny.LAYERS
        assert torch.equal(model.lm_head(out.hidden_states[-1]), out.logits)
        assert torch.allclose(out.attentions[0].sum(-1), torch.ones(1, tiny.HEADS, 20))
        assert torch.equal(model(inputs_embeds=model.transformer.wte(IDS)).logits, out.logits)
        assert torch.allclose(model(IDS, logits_to_keep=1).logits, out.logits[:, -1:], atol=1e-5)
        assert torch.equal(model(IDS, return_dict=False)[0], out.logits)
    with pytest.raises(SettingError, match="inputs_embeds"):
        model()
