"""Preferences that are really learned: what was chosen becomes likelier, and a run that was stopped goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import qwen7b
import tiny
from qwen7b.adapters.settings import LoraSettings
from qwen7b.errors import PromptError, SettingError
from qwen7b.loading import load_model
from qwen7b.text import load_tokenizer
from qwen7b.train.example_batches import ExampleOrder
from qwen7b.train.labels import make_labelling
from qwen7b.train.preference_batches import PreferenceBatches
from qwen7b.train.preference_examples import label_pairs
from qwen7b.train.preference_loss import PreferenceBatch
from qwen7b.train.preference_recipe import PreferenceRecipe
from qwen7b.train.preferences import read_preferences
from qwen7b.train.preferring import prefer
from qwen7b.train.recipe_file import read_recipe
from qwen7b.train.run_log import read_log

pytestmark = pytest.mark.usefixtures("short_probe")
ANSWERS = [("the", "hell", "in"), ("her", "in", "hell"), ("you", "hi", "no"), ("tin", "no", "then"), ("er", "he", "th")]
LORA = LoraSettings(targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), rank=8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tensors = {name: tensor * 0.3 if tensor.dim() == 2 else tensor for name, tensor in tiny.qwen2_tensors().items()}
    folder = tmp_path_factory.mktemp("base") / "base"
    return tiny.write_folder(folder, tiny.QWEN2_CONFIG, tensors, tokenizer=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.jsonl"
    lines = [{"prompt": asked, "chosen": chosen, "rejected": rejected} for asked, chosen, rejected in ANSWERS]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def recipe(base: Path, data: Path, **changes: Any) -> PreferenceRecipe:
    settings = {"rows": 5, "steps": 25, "learning_rate": 3e-3, "precision": "float32"}
    return PreferenceRecipe(model=str(base), data=(str(data),), **{**settings, **changes})


def likelier(model: str | Path, **settings: Any) -> int:
    """How many of the chosen answers are likelier than the rejected ones, all tokens together."""
    qwen = qwen7b.load(model, chat=True, **settings)

    def logprob(asked: str, answer: str) -> float:
        prompt = qwen7b.chat_prompt(qwen.tokenizer, [{"role": "user", "content": asked}])
        ids = prompt + qwen.tokenizer.encode(f"{answer}<|im_end|>", allowed_special="all")
        with torch.inference_mode():
            likely = qwen.model(torch.tensor([ids]))[0, :-1].log_softmax(-1)
        return float(likely.gather(1, torch.tensor(ids[1:])[:, None])[len(prompt) - 1 :].sum())

    return sum(logprob(asked, chosen) > logprob(asked, rejected) for asked, chosen, rejected in ANSWERS)


@pytest.mark.parametrize("kind", ["all weights", "an adapter", "an adapter beside 4 bits"])
def test_what_was_chosen_becomes_likelier(base: Path, data: Path, tmp_path: Path, kind: str) -> None:
    changes: dict[str, Any] = {} if kind == "all weights" else {"lora": LORA, "learning_rate": 1e-2}
    if kind.endswith("bits"):
        changes["quantize"] = "nf4"
    saved = prefer(recipe(base, data, **changes), tmp_path / "run")
    entries = [*read_log(tmp_path / "run" / "log.jsonl")]
    first, last = entries[0], entries[-1]
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3 if "quantize" in changes else 1e-4)
    assert abs(first["margin"]) < 1e-3 and first["targets"] == sum(
        len(load_tokenizer(base).encode(answer)) + 1 for _, *answers in ANSWERS for answer in answers
    )
    assert last["loss"] < 0.3 and last["accuracy"] == 1.0 and last["margin"] > 1
    assert last["margin"] == pytest.approx(last["reward_chosen"] - last["reward_rejected"], abs=1e-4)
    assert likelier(base, dtype="float32") < len(ANSWERS)
    if kind == "all weights":
        assert likelier(saved, dtype="float32") == len(ANSWERS)
    else:
        assert likelier(base, adapter=saved, dtype="float32") == len(ANSWERS)


@pytest.mark.parametrize("lora", [None, LORA], ids=["all weights", "an adapter"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    base: Path, data: Path, tmp_path: Path, lora: LoraSettings | None
) -> None:
    settings = recipe(base, data, lora=lora, steps=6, save_every=2, keep=9, rows=3, micro_tokens=120)
    whole = prefer(settings, tmp_path / "whole")
    cut = shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for step in (4, 6):
        shutil.rmtree(cut / "steps" / f"step-{step:08}")
    again = prefer(settings, cut)
    weights = "model.safetensors" if lora is None else "adapter_model.safetensors"
    for name in (weights, "optimizer.safetensors"):
        assert (whole / name).read_bytes() == (again / name).read_bytes()
    assert (tmp_path / "whole" / "log.jsonl").read_bytes() == (cut / "log.jsonl").read_bytes()
    kept = read_recipe(cut / "recipe.toml", PreferenceRecipe)
    assert kept.beta == 0.1 and "# What log-probabilities beyond" in (cut / "recipe.toml").read_text()
    with pytest.raises(SettingError, match="has the run of another recipe"):
        prefer(recipe(base, data, lora=lora, steps=6, beta=0.2), cut)


def test_the_reference_does_not_depend_on_where_a_run_begins(base: Path, data: Path) -> None:
    model = load_model(base, dtype="float32")
    examples = label_pairs(read_preferences([data]), make_labelling(load_tokenizer(base)))
    order = ExampleOrder(examples, rows=3, micro_tokens=120, seed=1)
    assert len(order.parts(0)) > 1
    from_start, later = PreferenceBatches(order), PreferenceBatches(order)
    from_start.read_reference(model, range(9), dtype=torch.float32)
    later.read_reference(model, range(6, 9), dtype=torch.float32)
    for step in range(6, 9):
        for one, other in zip(from_start(step), later(step), strict=True):
            assert isinstance(one, PreferenceBatch) and isinstance(other, PreferenceBatch)
            assert torch.equal(one.reference, other.reference)
            assert one.num_tokens <= 120 or one.num_terms == 1
    assert not model.training


def test_a_first_step_needs_the_reference_of_its_own_pairs_only(base: Path, data: Path) -> None:
    examples = label_pairs(read_preferences([data]), make_labelling(load_tokenizer(base)))
    batches = PreferenceBatches(ExampleOrder(examples, rows=1, micro_tokens=999, seed=1))
    batches.read_reference(load_model(base, dtype="float32"), range(1), dtype=torch.float32)
    batches(0)
    with pytest.raises(KeyError):
        batches(1)


def test_mistakes(base: Path, data: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(data.read_text() + '{"prompt": "Hi", "chosen": "he"}\n')
    with pytest.raises(PromptError, match=r"bad.jsonl, line 6: a preference should be an object with 'prompt'"):
        prefer(recipe(base, bad), tmp_path / "run")
    with pytest.raises(SettingError, match="beta must be a number above 0"):
        recipe(base, data, beta=0)
    assert not (tmp_path / "run").exists()
