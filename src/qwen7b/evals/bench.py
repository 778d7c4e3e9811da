"""How fast a model is here: seconds and bytes of the engine's own steps, beside what the machine could do at most.

Decoding reads every weight once a token, so it is measured against the bandwidth of memory; reading a prompt is
measured against the int8 arithmetic that its layers take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import ParamSpec, TypeVar

import torch

from qwen7b import kernels
from qwen7b.config import ModelConfig
from qwen7b.config.checked import whole_number
from qwen7b.generate import Engine, Request
from qwen7b.model import Transformer
from qwen7b.system.memory import peak_bytes

P = ParamSpec("P")
T = TypeVar("T")

SHORT_PROMPT = 16
"""Tokens of the prompt whose first token is waited for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is timed, `repeat` times over."""

    prompt_tokens: int = 512
    new_tokens: int = 64
    context: int = 512
    """Tokens that lie in the cache before the new ones."""
    batch: int = 1
    """Sequences at once, each of these lengths."""
    repeat: int = 3

    def __post_init__(self) -> None:
        for field in fields(self):
            whole_number(field.name, getattr(self, field.name), minimum=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefill:
    tokens_per_second: float
    int8_share: float | None
    """The share of the int8 peak that is reached: two operations for each weight of the layers and token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decode:
    tokens_per_second: float
    bandwidth_share: float | None
    """The share of the read bandwidth that is reached: bytes a token times tokens a second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MachinePeaks:
    """What the machine does with the same threads and instructions; None without the native library or on a GPU."""

    read_bytes_per_second: float | None
    int8_ops_per_second: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Medians over the repetitions. With a batch, tokens are those of all its sequences."""

    prefill: Prefill
    decode: Decode
    first_token_seconds: float
    """The time from a prompt of SHORT_PROMPT tokens to its first token, by the model as it was just loaded."""
    load_seconds: float
    peak_memory_bytes: int
    """The memory of the whole process; on CUDA, of its tensors there."""
    bytes_per_token: int
    """Weights, and keys and values of the context, that one decode step reads, divided by the batch."""
    limits: MachinePeaks


def measure_speed(load: Callable[[], Transformer], work: Work) -> Speed:
    """Load a model and time it over random prompts; the limits are sampled behind every repetition."""
    model, load_seconds = _time(load)
    _, first_token_seconds = _time(_read_prompts, model, 1, SHORT_PROMPT)
    prefill_seconds, decode_seconds = [], []
    samples: list[kernels.Limits | None] = []
    decoding: Engine | None = None
    for repetition in range(work.repeat):
        prefill_seconds.append(_time(_read_prompts, model, work.batch, work.prompt_tokens)[1])
        if decoding is None:  # later repetitions go on where this one ends
            decoding = _read_prompts(model, work.batch, work.context, more=work.repeat * work.new_tokens)
        decode_seconds.append(_time(_decode, decoding, work.new_tokens)[1])
        if repetition == 0:  # a sample of the limits takes memory, and so does a cache beside another prompt's
            peak_memory_bytes = peak_bytes(model.device)
        samples.append(kernels.measure_limits() if model.device.type == "cpu" else None)
    assert decoding is not None
    limits = _limits([sample for sample in samples if sample])
    prefill_rate = work.batch * work.prompt_tokens / median(prefill_seconds)
    decode_rate = work.batch * work.new_tokens / median(decode_seconds)
    bytes_per_token = _read_bytes(decoding, length=work.context + work.repeat * work.new_tokens // 2) // work.batch
    return Speed(
        prefill=Prefill(
            tokens_per_second=prefill_rate,
            int8_share=_share(2 * _layer_weights(model.config) * prefill_rate, limits.int8_ops_per_second),
        ),
        decode=Decode(
            tokens_per_second=decode_rate,
            bandwidth_share=_share(bytes_per_token * decode_rate, limits.read_bytes_per_second),
        ),
        first_token_seconds=first_token_seconds,
        load_seconds=load_seconds,
        peak_memory_bytes=peak_memory_bytes,
        bytes_per_token=bytes_per_token,
        limits=limits,
    )


def _read_prompts(model: Transformer, count: int, num_tokens: int, more: int = 0) -> Engine:
    """Sequences that have one token behind a prompt, and room for more."""
    prompts = torch.randint(model.config.vocab_rows, (count, num_tokens)).tolist()
    engine = Engine(model, vocab_size=model.config.vocab_rows, max_running=count)
    # With another alpha than "reserve" a sequence might be read again, and that would be timed.
    requests = [Request(ids=prompt, max_length=num_tokens + 2 + more, ntk="reserve") for prompt in prompts]
    for request in requests:
        engine.add(request)
    while any(len(request.ids) == num_tokens for request in requests):
        engine.step()
    return engine


def _decode(engine: Engine, num_steps: int) -> None:
    for _ in range(num_steps):
        engine.step()


def _time(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, float]:
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return result, time.perf_counter() - start


def _limits(samples: Sequence[kernels.Limits]) -> MachinePeaks:
    """The medians."""
    return MachinePeaks(
        read_bytes_per_second=median(sample.read_bytes_per_second for sample in samples) if samples else None,
        int8_ops_per_second=median(sample.int8_ops_per_second for sample in samples) if samples else None,
    )


def _share(rate: float, limit: float | None) -> float | None:
    return None if limit is None else rate / limit


def _layer_weights(config: ModelConfig) -> int:
    """Weights that each token of a prompt is multiplied by; the head is for its last one only."""
    inner = config.num_heads * config.head_size
    attention = config.hidden_size * (2 * inner + 2 * config.num_kv_heads * config.head_size)
    return config.num_layers * (attention + 3 * config.hidden_size * config.feed_forward_size)


def _read_bytes(engine: Engine, *, length: int) -> int:
    """What one step reads of the weights, and of a cache with so many positions. The embedding gives a row only."""
    modules = (engine.model.layers, engine.model.norm, engine.model.head)
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    cached = 0
    for sequence in engine.slots.busy:
        for layer, (held, num_slots) in enumerate(zip(sequence.layers, sequence.num_slots, strict=True)):
            seen = min(length, sequence.config.window(layer) or length)
            cached += sum(tensor.nbytes for tensor in held.values()) * seen // num_slots
    return sum(tensor.nbytes for tensor in tensors) + cached
