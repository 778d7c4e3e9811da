"""What weight formats and the int8 cache cost the demo model in perplexity, beside GGUF's Q4_0 and bitsandbytes' NF4.

    python benchmarks/quantization.py FILE... [--max-windows 16] [--formats bf16 q8 q4 nf4 Q4_0 NF4] [--device cpu]

rounds the same bf16 weights to each format and scores the first windows of the texts, cut as `qwen7b perplexity` does.
Prints JSON: the perplexity of each text and of all together, and by how many percent the latter is above that of bf16.

    bf16          the weights as they are, computed in float32
    q8 q4 nf4     qwen7b, activations rounded too, with the int8 cache; "+ 16-bit cache": with that
    Q4_0          as llama.cpp has it, embedding and head as Q8_0; computed in float32
    NF4           as bitsandbytes has it, embedding and head untouched; computed in float32
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from torch import Tensor

import qwen7b
from qwen7b.convert import convert
from qwen7b.evals.perplexity import cut_windows, read_window
from qwen7b.model import Transformer

OURS = ("q8", "q4", "nf4")
FORMATS = ("bf16", *OURS, "Q4_0", "NF4")
# bitsandbytes/functional.py, get_4bit_type("nf4")
NF4 = torch.tensor(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ]
)


def round_gguf(weight: Tensor, type: GGMLQuantizationType) -> Tensor:
    return torch.from_numpy(dequantize(quantize(weight.numpy(), type), type))


def round_nf4(weight: Tensor) -> Tensor:
    """Round to NF4 in blocks of 64 with a float32 scale, without double quantization."""
    blocks = weight.reshape(-1, 64)
    scales = blocks.abs().amax(dim=1, keepdim=True)
    nearest = torch.bucketize(blocks / scales.clamp(min=1e-30), (NF4[1:] + NF4[:-1]) / 2)
    return (NF4[nearest] * scales).view(weight.shape)


@torch.no_grad()
def round_layers(model: Transformer, rounding: Callable[[Tensor], Tensor]) -> None:
    for parameter in model.layers.parameters():
        if parameter.dim() == 2:
            parameter.copy_(rounding(parameter))


@torch.no_grad()
def round_q4_0(model: Transformer) -> None:
    round_layers(model, lambda weight: round_gguf(weight, GGMLQuantizationType.Q4_0))
    for parameter in (model.embedding.weight, model.head.weight):
        parameter.copy_(round_gguf(parameter, GGMLQuantizationType.Q8_0))


def models(folder: Path, formats: list[str]) -> Iterator[tuple[str, Transformer]]:
    """Yield the models to compare, one at a time."""
    for format in formats:
        if format in OURS:
            model = qwen7b.load_model(folder, quantize=format, device="cpu")
            yield format, model
            model.cache_dtype = torch.float16
            yield f"{format} + 16-bit cache", model
            continue
        model = qwen7b.load_model(folder, dtype=torch.float32, device="cpu")
        if format == "Q4_0":
            round_q4_0(model)
        elif format == "NF4":
            round_layers(model, round_nf4)
        yield format, model


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    tokenizer = qwen7b.load_tokenizer(folder)
    texts = {
        file.name: cut_windows(torch.tensor(tokenizer.encode(file.read_text("utf-8"))), length=arguments.length)[
            : arguments.max_windows
        ]
        for file in arguments.files
    }
    perplexities: dict[str, dict[str, float]] = {}
    for name, model in models(folder, arguments.formats):
        model = model.to(arguments.device)
        totals = {file: sum(read_window(model, window).nats for window in windows) for file, windows in texts.items()}
        counts = {file: len(windows) * (arguments.length - 1) for file, windows in texts.items()}
        perplexities[name] = {file: math.exp(totals[file] / counts[file]) for file in texts}
        perplexities[name]["all"] = math.exp(sum(totals.values()) / sum(counts.values()))
        print(name, json.dumps(perplexities[name]), file=sys.stderr, flush=True)
    report: dict[str, Any] = {
        "length": arguments.length,
        "tokens_scored": sum(counts.values()),
        "perplexity": perplexities,
    }
    if exact := perplexities.get("bf16"):
        report["percent_above_bf16"] = {
            name: 100 * (values["all"] / exact["all"] - 1) for name, values in perplexities.items()
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--work", type=Path, help="where the bf16 folder stays; by default it is removed")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--max-windows", type=int, help="of each file; by default all")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = (arguments.work or Path(temporary)) / f"{Path(arguments.model).stem}-qwen2"
        if not folder.exists():
            convert(arguments.model, folder, to="qwen2", dtype="bfloat16")
        print(json.dumps(measure(folder, arguments), indent=2))


if __name__ == "__main__":
    main()
