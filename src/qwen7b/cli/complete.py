"""`qwen7b complete`: continues a text, without any chat format."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen7b.cli import options
from qwen7b.terminal.prompts import read_prompt


def complete(
    prompt: Annotated[
        str | None, typer.Argument(help="The text to continue; without it, standard input.", show_default=False)
    ] = None,
    model: options.Model = "demo",
    control_tokens: options.ControlTokens = None,
    max_new_tokens: options.MaxNewTokens = None,
    stop: options.Stop = None,
    greedy: options.AlwaysBest = False,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = None,
    frequency_penalty: options.FrequencyPenalty = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    quantize: options.Quantize = None,
    long_context: options.LongContext = None,
    context_length: options.ContextLength = None,
    ntk: options.Ntk = "recompute",
    prompt_cache: options.PromptCache = None,
    prompt_cache_gb: options.PromptCacheGb = None,
    threads: options.Threads = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Continue a text as it is, and print only the continuation."""
    text = read_prompt(prompt)
    loading = options.Loading(
        model=model,
        device=device,
        dtype=dtype,
        threads=threads,
        offline=offline,
        quantize=quantize,
        long_context=long_context,
        context_length=context_length,
        prompt_cache=prompt_cache,
        prompt_cache_gb=prompt_cache_gb,
    )
    sampling = options.SamplingOptions(
        greedy=greedy,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        seed=seed,
    )
    qwen = loading.load()
    from qwen7b.terminal.plain import PlainDisplay
    from qwen7b.terminal.replies import show_reply

    display = None if as_json else PlainDisplay()
    pieces = qwen.stream_completion(
        text,
        max_new_tokens=max_new_tokens,
        stop=tuple(stop or ()),
        ntk=ntk,
        on_prompt=None if display is None else display.show_reading,
        control_tokens=control_tokens,
        **sampling.keywords(),
    )
    show_reply(pieces, display, model=model, prompt=text)
