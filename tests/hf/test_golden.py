"""Parity with the original's own code, and with ours where the original had no answer: padding, caches, compilation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("transformers", reason="needs the extra hf")

from transformers import AutoModelForCausalLM, DynamicCache, StaticCache

import qwen7b.hf  # noqa: F401
from qwen7b.loading import load_model

TOLERANCE = 2e-4
MODELS = ["v11-long", "v11-plain", "v10-long"]


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, golden: Path) -> Path:
    return golden / str(request.param)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def cases(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "cases.safetensors")


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= tolerance)


def step_cases(cases: dict[str, torch.Tensor]) -> list[tuple[int, int, torch.Tensor]]:
    names = [name for name in cases if name.startswith("step.")]
    assert len(names) >= 2
    return [(*map(int, name.split(".")[1:]), cases[name]) for name in names]  # type: ignore[misc]


@torch.inference_mode()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_full_pass_equals_original(model: Any, cases: dict[str, torch.Tensor], attention: str) -> None:
    model.set_attn_implementation(attention)
    lengths = [int(name.split(".")[1]) for name in cases if name.startswith("full.")]
    assert len(lengths) >= 3
    for length in lengths:
        assert close(model(cases["ids"][None, :length]).logits[0], cases[f"full.{length}"]), length
    model.set_attn_implementation("sdpa")


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_steps_equal_original(model: Any, cases: dict[str, torch.Tensor], kind: str) -> None:
    ids = cases["ids"][None]
    for start, steps, expected in step_cases(cases):
        cache = DynamicCache() if kind == "dynamic" else StaticCache(config=model.config, max_cache_len=start + steps)
        logits = [model(ids[:, :start], past_key_values=cache).logits[0, -1]]
        logits += [
            model(ids[:, at : at + 1], past_key_values=cache).logits[0, -1] for at in range(start, start + steps)
        ]
        assert close(torch.stack(logits), expected), start


@torch.inference_mode()
def test_several_tokens_after_a_cache_equal_single_steps(model: Any, cases: dict[str, torch.Tensor]) -> None:
    ids = cases["ids"][None]
    start, steps, expected = step_cases(cases)[0]
    cache = DynamicCache()
    model(ids[:, :start], past_key_values=cache)
    assert close(model(ids[:, start : start + steps], past_key_values=cache).logits[0], expected[1:])


@torch.inference_mode()
def test_interleaved_conversations_do_not_disturb_each_other(model: Any, cases: dict[str, torch.Tensor]) -> None:
    ids = cases["ids"][None]
    running = []
    for start, _, expected in step_cases(cases):
        cache = DynamicCache()
        model(ids[:, :start], past_key_values=cache)
        running.append((start, cache, expected))
    for step in range(1, 4):
        for start, cache, expected in running:
            at = start + step - 1
            assert close(model(ids[:, at : at + 1], past_key_values=cache).logits[0, -1], expected[step])


@torch.inference_mode()
def test_left_padding_changes_nothing(model: Any, cases: dict[str, torch.Tensor]) -> None:
    lengths = [5, 60, 70, 128, 200]  # of several alphas
    rows = [cases["ids"][:length] for length in lengths]
    width = max(lengths)
    ids = torch.stack([torch.cat((torch.full((width - len(row),), 7), row)) for row in rows])
    mask = torch.stack([torch.arange(width) >= width - length for length in lengths]).long()
    cache = DynamicCache()
    together = model(ids, attention_mask=mask, past_key_values=cache).logits
    following = cases["ids"][200:204].expand(len(rows), -1)
    for step in range(following.shape[1]):
        mask = torch.cat((mask, mask.new_ones(len(rows), 1)), dim=1)
        out = model(following[:, step : step + 1], attention_mask=mask, past_key_values=cache).logits
        together = torch.cat((together, out), dim=1)
    for row, length, logits in zip(rows, lengths, together, strict=True):
        cache = DynamicCache()
        alone = [model(row[None], past_key_values=cache).logits[0]]
        alone += [model(following[:1, at : at + 1], past_key_values=cache).logits[0] for at in range(4)]
        assert close(logits[width - length :], torch.cat(alone), 2e-5), length


@torch.inference_mode()
def test_a_reused_static_cache_forgets_the_last_sequence(model: Any, cases: dict[str, torch.Tensor]) -> None:
    cache = StaticCache(config=model.config, max_cache_len=256)
    model(cases["ids"][None, :200], past_key_values=cache)
    cache.reset()
    assert close(model(cases["ids"][None, :7], past_key_values=cache).logits[0], cases["full.7"])


@torch.inference_mode()
def test_generate_equals_our_engine(model: Any, folder: Path, cases: dict[str, torch.Tensor]) -> None:
    """Over the trained length too, where NTK's alpha stays what the prompt's was."""
    ours = load_model(folder, dtype=torch.float32)
    for start in (5, 61, 126):
        ids = cases["ids"][None, :start]
        made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, eos_token_id=None)
        cache = ours.new_cache(max_length=start + 24, ntk="original")
        expected, logits = ids, ours(ids, cache=cache)
        while expected.shape[1] < start + 24:
            new = logits[:, -1:].argmax(-1)
            expected = torch.cat((expected, new), dim=1)
            if expected.shape[1] < start + 24:
                logits = ours(new, cache=cache)
        assert torch.equal(made, expected), start


@torch.inference_mode()
def test_greedy_ids_equal_original(model: Any, cases: dict[str, torch.Tensor]) -> None:
    expected = cases["greedy.full"][None]
    ids = expected[:, :32]
    while ids.shape[1] < expected.shape[1]:
        ids = torch.cat((ids, model(ids).logits[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(ids, expected)


def test_long_context_rules_act_only_in_eval_mode(folder: Path, cases: dict[str, torch.Tensor]) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    ours = load_model(folder, dtype=torch.float32).train()
    ids = cases["ids"][None, :128]
    with torch.no_grad():
        assert close(model(ids).logits, ours(ids), 2e-5)
