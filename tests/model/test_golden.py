"""Parity with the original: logits of its own code on tiny random models, both generations, all modes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qwen7b.loading import load_model
from qwen7b.model import Transformer

TOLERANCE = 2e-4
MODELS = ["v11-long", "v11-plain", "v10-long"]

Case = tuple[Transformer, dict[str, torch.Tensor]]


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest, golden: Path) -> Case:
    folder = golden / request.param
    return load_model(folder, dtype=torch.float32), load_file(folder / "cases.safetensors")


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= TOLERANCE)


@torch.inference_mode()
def test_full_pass_equals_original(case: Case) -> None:
    model, cases = case
    lengths = [int(name.split(".")[1]) for name in cases if name.startswith("full.")]
    assert len(lengths) >= 3
    for length in lengths:
        assert close(model(cases["ids"][None, :length])[0], cases[f"full.{length}"]), length


@torch.inference_mode()
def test_steps_equal_original_or_our_full_pass(case: Case) -> None:
    model, cases = case
    ids = cases["ids"][None]
    names = [name for name in cases if name.startswith("step.")]
    assert len(names) >= 2
    for name in names:
        start, steps = map(int, name.split(".")[1:])
        stepped = {}
        for ntk in ("original", "recompute"):
            cache = model.new_cache(max_length=start + steps, ntk=ntk)
            logits = [model(ids[:, :start], cache=cache)[0, -1]]
            logits += [model(ids[:, at : at + 1], cache=cache)[0, -1] for at in range(start, start + steps)]
            stepped[ntk] = torch.stack(logits)
        full = torch.stack([model(ids[:, : start + step])[0, -1] for step in range(steps + 1)])
        assert close(stepped["original"], cases[name]), name
        assert close(stepped["recompute"], full), name


@torch.inference_mode()
def test_greedy_ids_equal_original(case: Case) -> None:
    model, cases = case
    expected = cases["greedy.full"][None]
    ids = expected[:, :32]
    while ids.shape[1] < expected.shape[1]:
        ids = torch.cat((ids, model(ids)[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(ids, expected)
