"""`qwen7b bench`: the speed of a model on this machine, compared with the machine's peaks."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options
from qwen7b.cli.loading_options import Loading, plain_loading
from qwen7b.cli.option_groups import expand, without
from qwen7b.errors import SettingError
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.evals import Speed
    from qwen7b.model import Transformer


@expand(loading=without(plain_loading, "model", "context_length"))
def bench(
    *,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A known name, a folder, a .gguf file or a hub id. [default: demo]"),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option("--shape", help="Random weights instead of a model, in the shape of 1.8b, 7b, 14b or demo."),
    ] = None,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", metavar="N", help="Tokens of a prompt.")] = 512,
    new_tokens: Annotated[int, typer.Option("--new-tokens", metavar="N", help="Tokens to decode.")] = 64,
    context: Annotated[
        int | None, typer.Option("--context", metavar="N", help="Tokens before the new ones; by default the prompt's.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="Sequences at once.")] = 1,
    repeat: Annotated[int, typer.Option("--repeat", metavar="N", help="Repetitions, of which medians are shown.")] = 3,
    loading: Loading,
    as_json: options.Json = False,
) -> None:
    """Time a model: prompts, replies, loading, and memory.

    Random prompts go through the same engine as every reply. Loading includes the tokenizer and, in a first run,
    packing the weights, which are cached; for a shape it means generating the weights. The first token is that of a
    16-token prompt, right after loading.
    The peaks of processor and memory are measured in between, with the same threads.
    """
    if model is not None and shape is not None:
        raise SettingError(f"--shape {shape} takes the place of a model: drop it or --model {model}")
    if shape is not None and loading.long_context is not None:
        raise SettingError(
            f"--long-context {loading.long_context} needs a model's checkpoint: drop it or --shape {shape}"
        )
    if shape is not None and loading.device not in ("auto", "cpu"):
        raise SettingError(f"--shape {shape} is made and timed on the CPU: drop it or --device {loading.device}")
    loading = replace(loading, model=model or "demo")
    loading.set_threads()
    import torch

    from qwen7b import kernels
    from qwen7b.evals import Work, measure_speed, random_model
    from qwen7b.loading.placement import choose_quantize

    loaded_models: list[Transformer] = []

    def load() -> Transformer:
        if shape is None:
            loaded_models.append(loading.load().model)
        else:
            packed_as = choose_quantize(dtype=loading.dtype, device=torch.device("cpu"), quantize=loading.quantize)
            dtype_of_floats = getattr(torch, loading.dtype.value if loading.dtype else "float32")
            loaded_models.append(random_model(shape, quantize=packed_as, dtype=dtype_of_floats))
        return loaded_models[0]

    work = Work(
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        context=prompt_tokens if context is None else context,
        batch=batch,
        repeat=repeat,
    )
    speed = measure_speed(load, work)
    if as_json:
        common = {
            "model": f"shape {shape}" if shape else loading.model,
            "precision": loaded_models[0].weight_format or "none",
            "device": str(loaded_models[0].device),
            "long_context": loading.long_context,
            "threads": kernels.num_threads() or torch.get_num_threads(),
        }
        print_json({**common, **asdict(work), **asdict(speed)})
        return
    show(speed)


def show(speed: Speed) -> None:
    from qwen7b.system.memory import gigabytes

    prefill, decode, limits = speed.prefill, speed.decode, speed.limits
    int8_text = bandwidth_text = ""
    if prefill.int8_share is not None and limits.int8_ops_per_second is not None:
        int8_text = f", {prefill.int8_share:.0%} of the {limits.int8_ops_per_second / 1e12:.2f} int8 TOP/s there are"
    if decode.bandwidth_share is not None and limits.read_bytes_per_second is not None:
        bandwidth_text = (
            f", {decode.bandwidth_share:.0%} of the {limits.read_bytes_per_second / 1e9:.1f} GB/s there are"
        )
    typer.echo(f"prefill      {prefill.tokens_per_second:.1f} tokens/s{int8_text}")
    typer.echo(f"decode       {decode.tokens_per_second:.1f} tokens/s{bandwidth_text}")
    typer.echo(f"first token  {speed.first_token_seconds:.2f} s, after loading in {speed.load_seconds:.2f} s")
    typer.echo(
        f"memory       {gigabytes(speed.peak_memory_bytes)} at most, {gigabytes(speed.bytes_per_token)} read a token"
    )
