"""The cache goes by two names: both are taken on every Transformers, and a third is never swallowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra hf")

from transformers import AutoModelForCausalLM, DynamicCache

import qwen7b.hf  # noqa: F401
from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.hf.cache_name import CACHE_NAME

IDS = torch.arange(20)[None]
NAMES = ("past_key_values", "cache")


@pytest.fixture(scope="module")
def model(tiny_chat_checkpoint: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint).eval()


@pytest.mark.parametrize("name", NAMES)
def test_each_name_continues_a_sequence(model: Any, name: str) -> None:
    with torch.no_grad():
        whole = model(IDS, use_cache=False).logits[:, 12:]
        first = model(IDS[:, :12])
        rest = model(IDS[:, 12:], **{name: getattr(first, CACHE_NAME)}).logits
        inner = model.transformer(IDS[:, :12], **{name: DynamicCache()})
    assert torch.allclose(rest, whole, atol=1e-5)
    assert getattr(inner, CACHE_NAME).get_seq_length() == 12


@pytest.mark.parametrize("name", NAMES)
def test_generate_takes_each_name(model: Any, name: str) -> None:
    cache = DynamicCache()
    with torch.no_grad():
        model(IDS[:, :-1], **{name: cache})
    settings = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0}
    out = model.generate(IDS, **settings, **{name: cache})
    assert torch.equal(out, model.generate(IDS, **settings)) and cache.get_seq_length() == IDS.shape[1] + 5


def test_an_output_holds_the_cache_only_where_one_is_used(model: Any) -> None:
    with torch.no_grad():
        assert isinstance(model(IDS)[CACHE_NAME], DynamicCache)
        assert CACHE_NAME not in model(IDS, use_cache=False)
        assert len(model(IDS, return_dict=False)) == 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [((torch.zeros(1), torch.zeros(1)),), [], {"keys": []}, 3])
def test_what_is_no_cache_is_refused(model: Any, name: str, wrong: Any) -> None:
    for call in (model, model.generate, model.transformer):
        with pytest.raises(SettingError, match="DynamicCache"):
            call(IDS, **{name: wrong})


def test_two_caches_are_refused(model: Any) -> None:
    for call in (model, model.generate):
        with pytest.raises(SettingError, match="two names"):
            call(IDS, past_key_values=DynamicCache(), cache=DynamicCache())


def test_a_cache_by_a_third_name_is_refused(model: Any) -> None:
    """A Transformers of the future may find a new one: without the cache, what the model says would be noise."""
    for call in (model, model.generate):
        with pytest.raises(UnsupportedError, match="kv_store"):
            call(IDS, kv_store=DynamicCache())


# The name of before, which all releases have.
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable.* is deprecated:FutureWarning")
def test_gradient_checkpointing_uses_no_cache(tiny_chat_checkpoint: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint)
    settings = {"max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0}
    expected = model.train().generate(IDS, **settings)
    model.gradient_checkpointing_enable()
    assert CACHE_NAME not in model(IDS)
    with pytest.raises(SettingError, match="gradient checkpointing"):
        model(IDS, cache=DynamicCache())
    assert torch.equal(model.generate(IDS, **settings), expected)
