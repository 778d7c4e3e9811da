"""The speed of a model on this machine: the time of the engine's own steps, compared with the machine's peaks.

Decoding reads every weight once per token, so it is compared with the memory bandwidth; prefill is compared with the
int8 arithmetic that its layers take.
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
"""The length of the prompt for which the time to the first token is measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The work that is timed, `repeat` times."""

    prompt_tokens: int = 512
    new_tokens: int = 64
    context: int = 512
    """The number of tokens in the cache before the new ones."""
    batch: int = 1
    """The number of sequences that run at once, each with these lengths."""
    repeat: int = 3

    def __post_init__(self) -> None:
        for field in fields(self):
            whole_number(field.name, getattr(self, field.name), minimum=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefill:
    """The speed of reading prompts."""

    tokens_per_second: float
    int8_share: float | None
    """The share of the int8 peak that is reached, with two operations per weight of the layers and token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decode:
    """The speed of generating tokens."""

    tokens_per_second: float
    bandwidth_share: float | None
    """The share of the read bandwidth that is reached: bytes per token times tokens per second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MachinePeaks:
    """What the machine achieves with the same threads and instructions; None on a GPU or without the native library."""

    read_bytes_per_second: float | None
    int8_ops_per_second: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """The medians over the repetitions. With a batch, the tokens of all its sequences count."""

    prefill: Prefill
    decode: Decode
    first_token_seconds: float
    """The time from a prompt of SHORT_PROMPT tokens to its first token, right after loading."""
    load_seconds: float
    peak_memory_bytes: int
    """The peak memory of the whole process; on CUDA, of its tensors on the GPU."""
    bytes_per_token: int
    """The bytes of weights, and of the context's keys and values, that one decode step reads, divided by the batch."""
    limits: MachinePeaks


def measure_speed(load: Callable[[], Transformer], work: Work) -> Speed:
    """Load a model and time it on random prompts; the machine's peaks are sampled after every repetition."""
    model, load_seconds = _time(load)
    _, first_token_seconds = _time(_read_prompts, model, 1, SHORT_PROMPT)
    prefill_seconds, decode_seconds = [], []
    samples: list[kernels.Limits | None] = []
    decoding: Engine | None = None
    for repetition in range(work.repeat):
        prefill_seconds.append(_time(_read_prompts, model, work.batch, work.prompt_tokens)[1])
        if decoding is None:  # later repetitions continue where this one ends
            decoding = _read_prompts(model, work.batch, work.context, more=work.repeat * work.new_tokens)
        decode_seconds.append(_time(_decode, decoding, work.new_tokens)[1])
        if repetition == 0:  # before the sampling of peaks, and a prompt beside the cache, take memory
            peak_memory_bytes = peak_bytes(model.device)
        samples.append(kernels.measure_limits() if model.device.type == "cpu" else None)
    assert decoding is not None
    limits = _median_peaks([sample for sample in samples if sample])
    prefill_rate = work.batch * work.prompt_tokens / median(prefill_seconds)
    decode_rate = work.batch * work.new_tokens / median(decode_seconds)
    bytes_per_token = _bytes_per_step(decoding, length=work.context + work.repeat * work.new_tokens // 2) // work.batch
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
    """Read random prompts and generate one token for each; the cache has room for `more`."""
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


def _median_peaks(samples: Sequence[kernels.Limits]) -> MachinePeaks:
    """The medians of the samples."""
    return MachinePeaks(
        read_bytes_per_second=median(sample.read_bytes_per_second for sample in samples) if samples else None,
        int8_ops_per_second=median(sample.int8_ops_per_second for sample in samples) if samples else None,
    )


def _share(rate: float, limit: float | None) -> float | None:
    return None if limit is None else rate / limit


def _layer_weights(config: ModelConfig) -> int:
    """The number of weights that each token of a prompt is multiplied by; only its last token needs the head."""
    inner = config.num_heads * config.head_size
    attention = config.hidden_size * (2 * inner + 2 * config.num_kv_heads * config.head_size)
    return config.num_layers * (attention + 3 * config.hidden_size * config.feed_forward_size)


def _bytes_per_step(engine: Engine, *, length: int) -> int:
    """The bytes that one step reads of the weights, of which the embedding gives only a row, and of the cache."""
    modules = (engine.model.layers, engine.model.norm, engine.model.head)
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    cached = 0
    for sequence in engine.slots.busy:
        for layer, (tensors_of_layer, num_slots) in enumerate(zip(sequence.layers, sequence.num_slots, strict=True)):
            num_read = min(length, sequence.config.window(layer) or length)
            cached += sum(tensor.nbytes for tensor in tensors_of_layer.values()) * num_read // num_slots
    return sum(tensor.nbytes for tensor in tensors) + cached
