"""`generate` in all its ways: alone and in batches, beams, streamers, stop words, static caches, compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters  # noqa: PLC2701  # torch counts its graphs nowhere else

pytest.importorskip("transformers", reason="needs the extra hf")

from transformers import AutoModelForCausalLM, AutoTokenizer, CompileConfig, GenerationConfig, TextIteratorStreamer

import qwen7b.hf
from qwen7b.errors import SettingError

LENGTHS = (5, 40, 70)  # the longest is past the trained length of 64


@pytest.fixture(scope="module")
def model(golden: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(golden / "v11-long", dtype=torch.float32)


def prompt(length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(0, 500, (1, length), generator=generator)


def padded() -> dict[str, torch.Tensor]:
    """The prompts of LENGTHS as one batch."""
    width = max(LENGTHS)
    rows = [torch.cat((torch.full((1, width - length), 511), prompt(length)), dim=1) for length in LENGTHS]
    mask = torch.stack([torch.arange(width) >= width - length for length in LENGTHS]).long()
    return {"input_ids": torch.cat(rows), "attention_mask": mask}


def made(model: Any, length: int, **settings: Any) -> torch.Tensor:
    ids = prompt(length)
    out: torch.Tensor = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    return out[0, length:]


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"num_beams": 2, "length_penalty": 0.5}])
def test_batches_equal_single_prompts(model: Any, settings: dict[str, Any]) -> None:
    settings = {"max_new_tokens": 12, "eos_token_id": None, **settings}
    together = model.generate(**padded(), **settings)[:, max(LENGTHS) :]
    for length, row in zip(LENGTHS, together, strict=True):
        assert torch.equal(row, made(model, length, **settings)), length


@pytest.mark.parametrize("zero", [0, 0.0])
def test_temperature_zero_is_greedy(model: Any, zero: float) -> None:
    greedy = made(model, 40, max_new_tokens=8)
    assert torch.equal(greedy, made(model, 40, max_new_tokens=8, do_sample=True, temperature=zero))
    config = GenerationConfig(max_new_tokens=8, do_sample=True, temperature=zero)
    assert torch.equal(greedy, made(model, 40, generation_config=config))
    warm = GenerationConfig(max_new_tokens=8, do_sample=True, temperature=0.9)
    assert torch.equal(greedy, made(model, 40, generation_config=warm, temperature=zero))
    assert (config.do_sample, config.temperature) == (True, zero)  # the caller's own stays as it is


def test_sampling_repeats_with_its_seed(model: Any) -> None:
    settings = {"do_sample": True, "top_p": 0.9, "temperature": 0.8, "max_new_tokens": 16}
    first, second = [(torch.manual_seed(3), made(model, 40, **settings))[1] for _ in range(2)]
    assert torch.equal(first, second)
    assert not torch.equal(first, made(model, 40, **settings))


def test_several_beams_come_back_best_first(model: Any) -> None:
    ids = prompt(40)
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        num_beams=4,
        num_return_sequences=3,
        max_new_tokens=6,
        return_dict_in_generate=True,
        output_scores=True,
    )
    assert out.sequences.shape[0] == 3
    assert out.sequences_scores.tolist() == sorted(out.sequences_scores.tolist(), reverse=True)


def test_stop_words_end_a_reply(model: Any) -> None:
    free = made(model, 40, max_new_tokens=16).tolist()
    stop = free[5:7]
    first = next(at for at in range(len(free)) if free[at : at + 2] == stop)
    stopped = made(model, 40, max_new_tokens=16, stop_words_ids=[[999999], stop]).tolist()
    assert stopped == free[: first + 2]


def test_stop_words_end_each_row_of_a_batch_by_itself(model: Any) -> None:
    free = [made(model, length, max_new_tokens=12).tolist() for length in LENGTHS]
    words = [[row[at]] for at, row in zip((3, 6, 9), free, strict=True)]
    stopped = model.generate(**padded(), max_new_tokens=12, stop_words_ids=words)[:, max(LENGTHS) :]
    for row, expected in zip(stopped.tolist(), free, strict=True):
        end = next(at for at, token_id in enumerate(expected) if [token_id] in words)
        assert row[: end + 1] == expected[: end + 1] and set(row[end + 1 :]) <= {511}


def test_stop_words_in_the_prompt_or_across_its_end_do_not_count(model: Any) -> None:
    free = made(model, 40, max_new_tokens=8)
    across = [int(prompt(40)[0, -1]), int(free[0])]
    assert torch.equal(made(model, 40, max_new_tokens=8, stop_words_ids=[across, prompt(40)[0, -3:].tolist()]), free)


def test_stop_words_of_the_generation_config_count(model: Any) -> None:
    free = made(model, 40, max_new_tokens=8).tolist()
    model.generation_config.stop_words_ids = [[free[2]]]
    try:
        assert made(model, 40, max_new_tokens=8).tolist() == free[: free.index(free[2]) + 1]
    finally:
        del model.generation_config.stop_words_ids


@pytest.mark.parametrize("wrong", [[[]], [5, 6]])
def test_stop_words_that_are_none_are_refused(model: Any, wrong: Any) -> None:
    with pytest.raises(SettingError, match="stop_words_ids"):
        made(model, 5, stop_words_ids=wrong)


def test_a_streamer_gets_the_text(tiny_chat_checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_checkpoint)
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint)
    inputs = tokenizer("hello there", return_tensors="pt")
    suppress = list(range(tokenizer.vocab_size, model.config.vocab_size))
    settings = {**inputs, "max_new_tokens": 8, "suppress_tokens": suppress, "pad_token_id": 266}
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    ids = model.generate(**settings, streamer=streamer)[0, inputs["input_ids"].shape[1] :]
    assert "".join(streamer) == tokenizer.decode(ids, skip_special_tokens=True)


def test_a_prompt_in_a_cache_is_continued_as_if_given_whole(model: Any) -> None:
    """Alpha is that of the first pass: here both are below the trained length."""
    from transformers import DynamicCache

    whole, cache = prompt(40), DynamicCache()
    with torch.no_grad():
        model(whole[:, :30], past_key_values=cache)
    continued = model.generate(
        whole, attention_mask=torch.ones_like(whole), past_key_values=cache, max_new_tokens=10, eos_token_id=None
    )
    assert torch.equal(continued[0, 40:], made(model, 40, max_new_tokens=10, eos_token_id=None))


@pytest.mark.parametrize("length", LENGTHS)
def test_prompt_lookup_decoding_changes_nothing(model: Any, length: int) -> None:
    free = made(model, length, max_new_tokens=16)
    assert torch.equal(made(model, length, max_new_tokens=16, prompt_lookup_num_tokens=3), free)


def test_without_a_cache_each_step_is_a_full_pass(model: Any) -> None:
    """Then alpha follows the length, as in a full pass."""
    ids = prompt(60)
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, use_cache=False, eos_token_id=None
    )
    with torch.no_grad():
        for _ in range(10):
            ids = torch.cat((ids, model(ids).logits[:, -1:].argmax(-1)), dim=1)
    assert torch.equal(out, ids)


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_static_cache_changes_nothing(model: Any, compiled: bool) -> None:
    settings: dict[str, Any] = {"max_new_tokens": 12, "eos_token_id": None}
    expected = model.generate(**padded(), **settings)
    settings["disable_compile"] = not compiled
    if compiled:
        # Python code as the graph's back end: that the whole pass is one graph is what is tested.
        settings["compile_config"] = CompileConfig(fullgraph=True, backend="eager", mode=None)
        settings["compile_config"]._compile_all_devices = True
        torch.compiler.reset()
    counters.clear()
    out = model.generate(**padded(), **settings, cache_implementation="static")
    assert torch.equal(out, expected)
    assert counters["stats"]["unique_graphs"] == int(compiled)


def test_chunked_prefill_is_refused_where_its_alpha_would_be_wrong(model: Any) -> None:
    with pytest.raises(SettingError, match="prefill_chunk_size"):
        made(model, 70, prefill_chunk_size=16)


def test_stop_strings_need_the_fast_tokenizer(tiny_chat_checkpoint: Path) -> None:
    """Transformers works them out from tokens that are strings, as the slow one's are not."""
    model = AutoModelForCausalLM.from_pretrained(tiny_chat_checkpoint)
    settings: dict[str, Any] = {"stop_strings": ["e"], "max_new_tokens": 4, "pad_token_id": 266}
    slow = AutoTokenizer.from_pretrained(tiny_chat_checkpoint)
    with pytest.raises(SettingError, match="QWenTokenizerFast"):
        model.generate(torch.arange(5)[None], tokenizer=slow, **settings)
    fast = qwen7b.hf.QWenTokenizerFast.from_pretrained(tiny_chat_checkpoint)
    bias = {(fast.convert_tokens_to_ids("e"),): 1e4}
    assert model.generate(torch.arange(5)[None], tokenizer=fast, sequence_bias=bias, **settings).shape[1] == 6
