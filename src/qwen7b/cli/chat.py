"""`qwen7b chat`: one reply to a prompt, or a conversation at the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options
from qwen7b.cli.prompts import read_prompt
from qwen7b.errors import SettingError

if TYPE_CHECKING:
    from qwen7b.generate.request import Settings


def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(help="What to ask; without it, standard input or a conversation.", show_default=False),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="The system prompt.")] = None,
    model: options.Model = "demo",
    max_new_tokens: options.MaxNewTokens = None,
    stop: options.Stop = None,
    greedy: options.AlwaysBest = False,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    quantize: options.Quantize = None,
    long_context: options.LongContext = None,
    context_length: options.ContextLength = None,
    ntk: options.Ntk = "recompute",
    threads: options.Threads = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Chat: with a prompt one reply, at a terminal a conversation."""
    converse = prompt is None and sys.stdin.isatty()
    if converse and not sys.stdout.isatty():
        raise SettingError("a conversation needs a terminal for its output too: give a prompt to get one reply")
    if converse and as_json:
        raise SettingError("--json prints one reply: give a prompt as an argument or on standard input")
    question = "" if converse else read_prompt(prompt)
    loading = options.Loading(
        model=model,
        device=device,
        dtype=dtype,
        threads=threads,
        offline=offline,
        quantize=None if quantize is None else quantize.value,
        long_context=long_context,
        context_length=context_length,
    )
    sampling = options.SamplingOptions(
        greedy=greedy,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
    )
    qwen = loading.load()
    asking: Settings = {
        "sampling": sampling.over(qwen.default_sampling),
        "max_new_tokens": max_new_tokens,
        "stop": tuple(stop or ()),
        "ntk": ntk,
    }
    messages = [] if system is None else [{"role": "system", "content": system}]
    if converse:
        from qwen7b.cli.conversation import Conversation
        from qwen7b.cli.terminal import open_session

        conversation = Conversation(qwen, messages, asking=asking)
        conversation.run(open_session(conversation.commands))
        return
    from qwen7b.cli.display import reply_display
    from qwen7b.cli.replies import answer

    messages.append({"role": "user", "content": question})
    answer(qwen.stream(messages, **asking), None if as_json else reply_display(), model=model, messages=messages)
