"""Fine-tuning that is really run: tiny models learn, their replies stop, and what was trained loads everywhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import qwen7b
import tiny
from qwen7b.adapters.settings import LoraSettings
from qwen7b.checkpoint import open_checkpoint
from qwen7b.convert import quantize
from qwen7b.errors import PromptError, ResourceError, SettingError
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.train.finetune_recipe import FinetuneRecipe
from qwen7b.train.finetuning import finetune
from qwen7b.train.memory_need import computed_bytes
from qwen7b.train.merging import merge
from qwen7b.train.precision import Probe
from qwen7b.train.recipe_file import read_recipe

pytestmark = pytest.mark.usefixtures("short_probe")
PAIRS = {"the": "hell", "her": "then in", "you": "hi", "tin": "no"}
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of random weights, by its settings, with a ChatML vocabulary."""
    torch.manual_seed(0)
    tensors = {name: tensor * 0.3 if tensor.dim() == 2 else tensor for name, tensor in tiny.qwen2_tensors().items()}
    generation = {"eos_token_id": 266, "chat_format": "raw"}
    return tiny.write_folder(
        tmp_path_factory.mktemp("base") / "base", tiny.QWEN2_CONFIG, tensors, tokenizer=True, generation=generation
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    lines = [{"instruction": asked, "output": answer} for asked, answer in PAIRS.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def recipe(base: Path, data: Path, **changes: Any) -> FinetuneRecipe:
    settings = {"rows": 4, "steps": 60, "learning_rate": 1e-2, "precision": "float32", "weight_decay": 0.0}
    return FinetuneRecipe(model=str(base), data=(str(data),), **{**settings, **changes})


def replies(model: Any, **settings: Any) -> dict[str, tuple[str, str]]:
    """What a model answers to each question, and why it ended."""
    qwen = qwen7b.load(model, dtype="float32", **settings)
    answers = {asked: qwen.chat(asked, sampling=qwen7b.Greedy(), max_new_tokens=20) for asked in PAIRS}
    return {asked: (answer.text, answer.finish_reason) for asked, answer in answers.items()}


LEARNED = {asked: (answer, "stop") for asked, answer in PAIRS.items()}


@pytest.fixture(scope="module")
def whole(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved step of a run that trained all weights."""
    return finetune(recipe(base, data), tmp_path_factory.mktemp("whole") / "run")


def test_a_base_model_learns_to_answer_and_to_stop(base: Path, whole: Path) -> None:
    assert replies(base, chat=True) != LEARNED
    assert replies(whole) == LEARNED  # and its files say that it chats
    assert qwen7b.load(whole, dtype="float32").is_chat


def test_what_is_behind_a_reply_is_not_learned(base: Path, data: Path, whole: Path, tmp_path: Path) -> None:
    """The original's labels have the newline behind <|im_end|>, with which its models go on; ours do not learn it."""
    original = finetune(recipe(base, data, mode="original"), tmp_path / "run")
    goes_on = {}
    for name, folder in (("assistant", whole), ("original", original)):
        qwen = qwen7b.load(folder, dtype="float32")
        ids = qwen7b.chat_prompt(qwen.tokenizer, [{"role": "user", "content": "the"}])
        ids += qwen.tokenizer.encode("hell<|im_end|>", allowed_special="all")
        with torch.inference_mode():
            likely = qwen.model(torch.tensor([ids]))[0, -1].softmax(-1)
        [newline] = qwen.tokenizer.encode("\n")
        goes_on[name] = float(likely[newline])
    assert goes_on["original"] > 0.9 and goes_on["assistant"] < 0.1


def test_an_adapter_learns_the_same_loads_and_merges(base: Path, data: Path, tmp_path: Path) -> None:
    lora = LoraSettings(targets=TARGETS, rank=8, alpha=16, dropout=0.05)
    saved = finetune(recipe(base, data, lora=lora, steps=120), tmp_path / "run", control_rows=True)
    assert replies(base, adapter=saved, chat=True) == LEARNED
    fields = json.loads((saved / "adapter_config.json").read_text())
    assert fields["base_model_name_or_path"] == str(base)
    assert fields["trainable_token_indices"] == {"embed_tokens": [267, 268]}
    merged = merge(tmp_path / "run", tmp_path / "merged")
    assert merged.lost == [] and replies(tmp_path / "merged") == LEARNED
    with torch.inference_mode():
        ids = torch.arange(1, 40)[None]
        apart = qwen7b.load_model(base, dtype="float32", adapter=saved)(ids)
        torch.testing.assert_close(
            qwen7b.load_model(tmp_path / "merged", dtype="float32")(ids), apart, atol=1e-4, rtol=0
        )
    merge(saved, tmp_path / "merged.gguf", quantize="f16")
    assert replies(tmp_path / "merged.gguf") == LEARNED


def test_rows_of_control_tokens_alone_make_a_model_stop_again(whole: Path, data: Path, tmp_path: Path) -> None:
    """A base model that knows the answers but has never seen <|im_start|> and <|im_end|>."""
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(whole, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors["model.embed_tokens.weight"][[267, 268]] = torch.randn(2, tiny.HIDDEN) * 0.1
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    assert not any(reason == "stop" for _, reason in replies(broken).values())
    rows = LoraSettings(targets=())
    saved = finetune(
        recipe(broken, data, lora=rows, steps=100, learning_rate=3e-2), tmp_path / "run", control_rows=True
    )
    assert sum(tensor.numel() for tensor in load_file(saved / "adapter_model.safetensors").values()) == 2 * tiny.HIDDEN
    answered = replies(broken, adapter=saved)
    assert all(reason == "stop" for _, reason in answered.values()), answered


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(base: Path, data: Path, tmp_path: Path) -> None:
    lora = LoraSettings(targets=TARGETS, rank=2, dropout=0.3)
    settings = recipe(base, data, lora=lora, steps=6, save_every=2, keep=9, rows=3)
    whole = finetune(settings, tmp_path / "whole", control_rows=True)
    cut = shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for step in (4, 6):
        shutil.rmtree(cut / "steps" / f"step-{step:08}")
    again = finetune(settings, cut, control_rows=True)
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        assert (whole / name).read_bytes() == (again / name).read_bytes()
    assert (tmp_path / "whole" / "log.jsonl").read_bytes() == (cut / "log.jsonl").read_bytes()
    with pytest.raises(SettingError, match="has the run of another recipe"):
        finetune(replace(settings, learning_rate=1e-3), cut, control_rows=True)


@pytest.fixture(scope="module")
def packed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same base model, packed."""
    folder = tmp_path_factory.mktemp("packed") / "packed"
    quantize(base, folder, format="q8")
    return folder


@pytest.mark.parametrize("kind", ["q4", "a packed folder"])
def test_an_adapter_learns_beside_packed_weights(
    base: Path, packed: Path, data: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    lora = LoraSettings(targets=TARGETS, rank=8, alpha=16, dropout=0.05)
    model, format = (packed, None) if kind == "a packed folder" else (base, kind)
    settings = recipe(model, data, lora=lora, steps=120, quantize=format)
    saved = finetune(settings, tmp_path / "run", control_rows=True)
    kept = read_recipe(tmp_path / "run" / "recipe.toml", FinetuneRecipe)
    assert kept.quantize == (format or "q8")
    trained_on = {"chat": True, "adapter": saved} | ({} if format is None else {"quantize": format})
    qwen = qwen7b.load(model, **trained_on)
    answers = {asked: qwen.chat(asked, sampling=qwen7b.Greedy(), max_new_tokens=20).text for asked in PAIRS}
    assert answers == PAIRS


def test_a_run_beside_packed_weights_goes_on_to_the_same_bits(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    lora = LoraSettings(targets=TARGETS, rank=2, dropout=0.3)
    settings = recipe(base, data, lora=lora, steps=4, save_every=2, keep=9, rows=3, quantize="q4")
    whole = finetune(settings, tmp_path / "whole", control_rows=True)
    cut = shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(cut / "steps" / "step-00000004")
    again = finetune(settings, cut, control_rows=True)
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        assert (whole / name).read_bytes() == (again / name).read_bytes()


def test_a_run_does_not_go_on_with_another_base(base: Path, data: Path, tmp_path: Path) -> None:
    """Whose folder, sizes and settings are the same."""
    from safetensors.torch import load_file, save_file

    own = shutil.copytree(base, tmp_path / "base")
    lora = LoraSettings(targets=TARGETS, rank=2)
    settings = recipe(own, data, lora=lora, steps=2)
    finetune(settings, tmp_path / "run", control_rows=False)
    tensors = load_file(own / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"][3, 5] += 1e-3
    save_file(tensors, own / "model.safetensors")
    with pytest.raises(SettingError, match=r"has the run of another recipe, with '# base: \w+' where this one"):
        finetune(settings, tmp_path / "run", control_rows=False)


def test_the_probe_times_a_part_of_a_step(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in small models all else takes more time than products."""
    tried: list[torch.dtype] = []

    def probe_precision(precision: str, *, device: torch.device, trial: Any) -> Probe:
        assert precision == "auto"
        for dtype in (torch.float32, torch.bfloat16):
            trial(dtype)
            tried.append(dtype)
        return Probe(precision="float32", peak=1e9)

    monkeypatch.setattr("qwen7b.train.tuning.probe_precision", probe_precision)
    finetune(recipe(base, data, steps=1, precision="auto"), tmp_path / "run")
    assert tried == [torch.float32, torch.bfloat16]
    assert read_recipe(tmp_path / "run" / "recipe.toml", FinetuneRecipe).precision == "float32"


def test_a_run_keeps_the_format_of_products_that_it_began_with(base: Path, data: Path, tmp_path: Path) -> None:
    """Where the recipe leaves it to the machine; another that the recipe names is refused as any other setting is."""
    finetune(recipe(base, data, steps=1), tmp_path / "run")
    finetune(recipe(base, data, steps=1, precision="auto"), tmp_path / "run")
    with pytest.raises(SettingError, match="with 'precision = \"float32\"' where this one has 'precision = \"bfloat16"):
        finetune(recipe(base, data, steps=1, precision="bfloat16"), tmp_path / "run")


@pytest.mark.parametrize(
    ("micro_tokens", "tokens_that_fit", "again", "remedy"),
    [
        (256, 130, False, "--micro-tokens 128"),
        (256, 70, True, "--micro-tokens 64 --recompute"),
        (32, 70, True, "--recompute"),  # an example has 63, and is never cut
    ],
)
def test_what_is_computed_counts_in_memory_and_what_would_fit_is_said(
    base: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    micro_tokens: int,
    tokens_that_fit: int,
    again: bool,
    remedy: str,
) -> None:
    config = open_checkpoint(base).config
    held = 16 * count_weights(parameter_shapes(config))
    available = held + computed_bytes(config, num_tokens=tokens_that_fit, again=again)
    monkeypatch.setattr("qwen7b.train.tuning.available_bytes", lambda device: available)
    with pytest.raises(ResourceError, match=rf"of it before anything is computed, .*: keep less \({remedy}\), or free"):
        finetune(recipe(base, data, micro_tokens=micro_tokens), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_trained_is_refused(
    base: Path, packed: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(data.read_text() + '{"messages": [{"role": "user", "content": "Hi"}]}\n')
    with pytest.raises(PromptError, match=r"bad.jsonl, line 5: it ends without an answer"):
        finetune(recipe(base, bad), tmp_path / "run")
    with pytest.raises(PromptError, match=r"data.jsonl, line 1: its first turn takes"):
        finetune(recipe(base, data, max_length=9), tmp_path / "run")
    with pytest.raises(SettingError, match="no linear layer of this model is called 'c_attn'"):
        finetune(recipe(base, data, lora=LoraSettings(targets=("c_attn",))), tmp_path / "run")
    with pytest.raises(SettingError, match="an adapter without targets and without tokens' rows changes nothing"):
        finetune(recipe(base, data, lora=LoraSettings(targets=())), tmp_path / "run", control_rows=False)
    with pytest.raises(SettingError, match=r"weights packed as q8 are not trained themselves: .* \(--lora\)"):
        finetune(recipe(packed, data), tmp_path / "run")
    lora = LoraSettings(targets=TARGETS)
    with pytest.raises(SettingError, match="is packed as q8 already, found quantize 'q4': leave that out"):
        finetune(recipe(packed, data, lora=lora, quantize="q4"), tmp_path / "run")
    with pytest.raises(SettingError, match="a weight format must be one of q8, q4, nf4, found 'q5'"):
        recipe(base, data, lora=lora, quantize="q5")
    monkeypatch.setattr("qwen7b.train.tuning.available_bytes", lambda device: 1 << 20)
    with pytest.raises(ResourceError, match=r"^to train all weights takes .* free: train an adapter \(--lora\)"):
        finetune(recipe(base, data), tmp_path / "run")
    with pytest.raises(
        ResourceError, match=r"^to train an adapter of rank 64 .*: hold the model in fewer bits \(--qua"
    ):
        finetune(recipe(base, data, lora=lora), tmp_path / "run")
    assert not (tmp_path / "run").exists()
