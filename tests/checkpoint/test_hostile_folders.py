"""Whatever a stranger's files say, opening, loading, converting and packing them ends well or in one of our errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import qwen7b
import tiny
from qwen7b.checkpoint import open_checkpoint
from qwen7b.config import ModelConfig
from qwen7b.convert import convert, quantize
from qwen7b.convert.companions import read_companions
from qwen7b.doctor import diagnose
from qwen7b.errors import CheckpointError, Qwen7bError, UnsupportedError
from qwen7b.loading import load_model
from qwen7b.text import load_tokenizer
from qwen7b.text.chatml import CHAT_TEMPLATE

DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]
ODD: list[Any] = [5, -1, 1.5, 10**30, True, "x", "", "\ud800", [], [1], {}, {"a": 1}, [[["default"]]], [None], DEEP]
ODD += [{"default": 5}, [{"name": "default", "template": 5}], [{"name": ["default"], "template": "x"}], [{"name": {}}]]


def odd_name(value: Any) -> str:
    return f"{value!r:.30}".encode("ascii", "backslashreplace").decode()


def attempt(call: Callable[[], Any]) -> None:
    """Ends well or in one of our errors, of a line or two."""
    message = ""
    try:
        call()
    except Qwen7bError as error:
        message = str(error)
    assert len(message) < 1500 + 2 * message.count("/tmp")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny.write_folder(
        tmp_path / "source", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True, generation={"chat_format": "chatml"}
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    quantize(
        tiny.write_folder(folder / "source", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True),
        folder / "q8",
        format="q8",
    )
    return folder / "q8"


def set_field(path: Path, name: str, value: Any) -> None:
    fields = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**fields, name: value}))


TOKENIZER_FIELDS = ("chat_template", "added_tokens_decoder", "eos_token", "tokenizer_class", "add_bos_token")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TOKENIZER_FIELDS)
@pytest.mark.parametrize("value", ODD, ids=odd_name)
def test_odd_tokenizer_settings(source: Path, name: str, value: Any) -> None:
    set_field(source / "tokenizer_config.json", name, value)
    attempt(lambda: read_companions(open_checkpoint(source), name="model"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", [5, [1], {"default": 5}, "\ud800"], ids=odd_name)
def test_odd_chat_templates(source: Path, tmp_path: Path, value: Any) -> None:
    set_field(source / "tokenizer_config.json", "chat_template", value)
    for to in ("qwen2", "gguf"):
        with pytest.raises(CheckpointError, match="chat_template must be a string or a list of named ones"):
            convert(source, tmp_path / f"target.{to}", to=to)  # type: ignore[arg-type]
    assert not diagnose(source).is_healthy


CONFIG_FIELDS = (*tiny.V11_CONFIG, "rope_scaling", "attention_windows", "quantization_config", "padded_vocab_size")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONFIG_FIELDS)
def test_odd_configs(source: Path, name: str) -> None:
    whole = (source / "config.json").read_text()
    for value in ODD:
        (source / "config.json").write_text(whole)
        set_field(source / "config.json", name, value)
        attempt(lambda: open_checkpoint(source))
    diagnose(source)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["eos_token_id", "chat_format", "max_new_tokens", "do_sample", "top_k", "temperature"])
def test_odd_generation_settings(source: Path, name: str) -> None:
    for value in ODD:
        set_field(source / "generation_config.json", name, value)
        attempt(lambda: open_checkpoint(source))
    diagnose(source)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ModelConfig.__dataclass_fields__)
def test_odd_packed_configs(packed: Path, name: str) -> None:
    path = packed / "config.json"
    fields = json.loads(path.read_text())
    for value in [*ODD, None, "remove"]:
        model = {**fields["model"], name: value}
        if value == "remove":
            del model[name]
        path.write_text(json.dumps({**fields, "model": model}))
        attempt(lambda: open_checkpoint(packed))
    diagnose(packed)
    path.write_text(json.dumps(fields))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["qwen7b_packed", "weight_format", "model"])
def test_odd_packed_settings(packed: Path, name: str) -> None:
    path = packed / "config.json"
    fields = json.loads(path.read_text())
    for value in ODD:
        path.write_text(json.dumps({**fields, name: value}))
        attempt(lambda: open_checkpoint(packed))
    path.write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_position_embeddings", 2**33, "context_length is 8589934592, which does not fit the 32 bits"),
        ("rotary_emb_base", 1e39, r"rope.freq_base is 1e\+39, which does not fit"),
        ("layer_norm_epsilon", 1e-60, "epsilon is 1e-60, which does not fit"),
    ],
)
def test_numbers_that_gguf_does_not_hold(source: Path, tmp_path: Path, field: str, value: float, message: str) -> None:
    for name in ("use_dynamic_ntk", "use_logn_attn"):
        set_field(source / "config.json", name, False)
    set_field(source / "config.json", field, value)
    with pytest.raises(UnsupportedError, match=message):
        convert(source, tmp_path / "target.gguf", to="gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_names_that_are_not_utf_8(source: Path, tmp_path: Path) -> None:
    folder = source.rename(tmp_path / "mod\udcff\udc80el")
    for to, target in (("gguf", "target.gguf"), ("qwen2", "target"), ("gguf", "t\udcfe.gguf"), ("qwen2", "t\udcfe")):
        convert(folder, tmp_path / target, to=to)  # type: ignore[arg-type]
        load_model(tmp_path / target)
    quantize(folder, tmp_path / "pack\udcffed", format="q8")
    load_model(tmp_path / "pack\udcffed")
    diagnose(folder)


@pytest.mark.parametrize("value", [3e38, 1e20, float("inf"), float("nan")])
def test_biases_that_are_too_large_are_named(tmp_path: Path, value: float) -> None:
    tensors = tiny.qwen_tensors()
    tensors["transformer.h.1.attn.c_attn.bias"].fill_(value)
    folder = tiny.write_folder(tmp_path / "source", tiny.V11_CONFIG, tensors, tokenizer=True)
    for settings in ({"format": "q8"}, {"format": "q4", "calibration_text": ""}, {"format": "q4", "gptq": True}):
        with pytest.raises(CheckpointError, match=r"layers.1.attention.qkv.bias holds"):
            quantize(folder, tmp_path / "packed", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("gptq", [False, True])
def test_inputs_that_are_too_large_to_weigh(tmp_path: Path, gptq: bool) -> None:
    tensors = tiny.qwen_tensors()
    tensors["transformer.h.1.ln_2.weight"] *= 1e20
    folder = tiny.write_folder(tmp_path / "source", tiny.V11_CONFIG, tensors, tokenizer=True)
    with pytest.raises(UnsupportedError, match=r"layers.1.feed_forward.* too large to weigh"):
        quantize(folder, tmp_path / "packed", format="q4", calibration_text="the hell in there " * 20, gptq=gptq)
    assert not (tmp_path / "packed").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["base_model_name_or_path", "peft_type", "r", "target_modules"])
def test_odd_adapters(tmp_path: Path, name: str) -> None:
    tensors = {"base_model.model.transformer.h.0.mlp.w1.lora_A.weight": torch.zeros(4, 64)}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    for value in [*ODD, "x" * 5000, "a\0b", None]:
        (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", name: value}))
        diagnose(tmp_path)
        attempt(lambda: open_checkpoint(tmp_path))


def test_a_million_added_tokens(source: Path) -> None:
    document = json.loads((source / "tokenizer.json").read_text())
    added = [{"content": f"<{id}>", "id": id, "special": True} for id in range(1000, (1 << 17) + 1001)]
    (source / "tokenizer.json").write_text(json.dumps({**document, "added_tokens": added}))
    with pytest.raises(UnsupportedError, match="has 131073 control tokens: qwen7b takes 131072"):
        load_tokenizer(source)


def test_a_chat_template_without_its_control_tokens(source: Path) -> None:
    set_field(source / "tokenizer_config.json", "chat_template", CHAT_TEMPLATE)
    document = json.loads((source / "tokenizer.json").read_text())
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] != "<|im_end|>"]
    (source / "tokenizer.json").write_text(json.dumps(document))
    assert diagnose(source).is_healthy  # what it writes there is text, as in Transformers
    qwen7b.load(source, quantize="none").chat("hello", max_new_tokens=2)


def test_added_tokens_of_long_names(source: Path) -> None:
    document = json.loads((source / "tokenizer.json").read_text())
    added = [{"content": f"<{'a' * 50_000}{id}>", "id": id, "special": True} for id in range(1000, 1021)]
    (source / "tokenizer.json").write_text(json.dumps({**document, "added_tokens": added}))
    with pytest.raises(UnsupportedError, match="whose names are 1050126 characters: qwen7b takes 1048576"):
        load_tokenizer(source)


@pytest.mark.parametrize("depth", [400, 480, 3000])  # newer Pythons read JSON that is deeper than calls may be
@pytest.mark.parametrize(
    ("part", "steps"),
    [("normalizer", "normalizers"), ("post_processor", "processors"), ("pre_tokenizer", "pretokenizers")],
)
def test_deep_tokenizers(source: Path, part: str, steps: str, depth: int) -> None:
    document = json.loads((source / "tokenizer.json").read_text())
    deep = f'{{"type": "Sequence", "{steps}": [' * depth + '{"type": "NFC"}' + "]}" * depth
    whole = json.dumps({name: value for name, value in document.items() if name != part})
    (source / "tokenizer.json").write_text(f'{whole[:-1]}, "{part}": {deep}}}')
    attempt(lambda: load_tokenizer(source))
    diagnose(source)
