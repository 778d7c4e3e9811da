"""The table of known models holds together, and a wrong name is met with the near ones."""

from __future__ import annotations

import re

import pytest

from qwen7b.errors import ModelNotFoundError
from qwen7b.hub.known import KNOWN_MODELS, KnownModel, Wheels, find_known


@pytest.mark.parametrize("model", KNOWN_MODELS.values(), ids=lambda model: model.name)
def test_each_entry_is_consistent(model: KnownModel) -> None:
    assert KNOWN_MODELS[model.name] is model
    assert re.fullmatch("[0-9a-f]{64}", model.sha256)
    assert model.file.endswith(".gguf") and model.licence and model.sources
    for source in model.sources:
        if isinstance(source, Wheels):
            assert sum(part.size for part in source.parts) == model.size


def test_find_known() -> None:
    assert find_known("demo") is KNOWN_MODELS["demo"]


@pytest.mark.parametrize(("wrong", "near"), [("dmeo", "demo"), ("Demo", "demo"), ("smollm", "smollm2")])
def test_near_matches_are_named(wrong: str, near: str) -> None:
    with pytest.raises(ModelNotFoundError, match=f"unknown model '{wrong}': did you mean '{near}'"):
        find_known(wrong)


def test_far_names_get_the_list() -> None:
    with pytest.raises(
        ModelNotFoundError, match=r"unknown model 'gpt'\. Known names are demo, smollm2 and .* Qwen-7B-Chat"
    ):
        find_known("gpt")
