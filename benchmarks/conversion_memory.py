"""Time and peak memory of converting a checkpoint of Qwen-7B's size with random weights.

    python benchmarks/conversion_memory.py FOLDER [--layers 32]

writes the checkpoint into FOLDER (15.4 GB in bfloat16, and as much again for the largest target), converts it there,
each time in a new process, prints a line of JSON for each, and removes what it wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from qwen7b.hub import locate
from qwen7b.text import load_tokenizer
from qwen7b.text.export import qwen_tiktoken

HIDDEN, HEADS, FEED_FORWARD, ROWS = 4096, 32, 11008, 151936
TARGETS: tuple[tuple[str, str, list[str]], ...] = (
    ("qwen2", "qwen2", []),
    ("q8_0.gguf", "gguf", ["--quantize", "q8_0"]),
    ("q4_0.gguf", "gguf", ["--quantize", "q4_0"]),
    ("f16.gguf", "gguf", ["--quantize", "f16"]),
)


def random(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.bfloat16).normal_(std=0.02)


def write_checkpoint(folder: Path, *, layers: int) -> int:
    """Write a checkpoint shaped as Qwen-7B-Chat with random weights, and return its size in bytes."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    weight_map: dict[str, str] = {}

    def write_shard(name: str, tensors: dict[str, torch.Tensor]) -> None:
        save_file(tensors, folder / name)
        weight_map.update(dict.fromkeys(tensors, name))

    write_shard("embedding.safetensors", {"transformer.wte.weight": random(ROWS, HIDDEN)})
    write_shard("head.safetensors", {"lm_head.weight": random(ROWS, HIDDEN), "transformer.ln_f.weight": random(HIDDEN)})
    for layer in range(layers):
        prefix = f"transformer.h.{layer}."
        tensors = {
            "ln_1.weight": random(HIDDEN),
            "attn.c_attn.weight": random(3 * HIDDEN, HIDDEN),
            "attn.c_attn.bias": random(3 * HIDDEN),
            "attn.c_proj.weight": random(HIDDEN, HIDDEN),
            "ln_2.weight": random(HIDDEN),
            "mlp.w1.weight": random(FEED_FORWARD, HIDDEN),
            "mlp.w2.weight": random(FEED_FORWARD, HIDDEN),
            "mlp.c_proj.weight": random(HIDDEN, FEED_FORWARD),
        }
        write_shard(f"layer-{layer:02}.safetensors", {prefix + name: tensor for name, tensor in tensors.items()})
    config = {
        "model_type": "qwen",
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "num_hidden_layers": layers,
        "intermediate_size": 2 * FEED_FORWARD,
        "kv_channels": HIDDEN // HEADS,
        "layer_norm_epsilon": 1e-6,
        "max_position_embeddings": 32768,
        "seq_length": 8192,
        "rotary_emb_base": 10000,
        "tie_word_embeddings": False,
        "use_dynamic_ntk": True,
        "use_logn_attn": True,
        "vocab_size": ROWS,
        "no_bias": True,
    }
    vocabulary = qwen_tiktoken(load_tokenizer(locate("demo")).vocabulary)
    assert vocabulary is not None
    (folder / "qwen.tiktoken").write_bytes(vocabulary)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"chat_format": "chatml", "eos_token_id": 151643}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return sum(path.stat().st_size for path in folder.iterdir())


def measure(command: list[str]) -> tuple[dict[str, Any], float, int]:
    """Run a conversion; returns its conversion.json, its seconds and its peak bytes."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return json.loads(output), time.monotonic() - start, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=32)
    arguments = parser.parse_args()
    source = arguments.folder / "random-7b"
    try:
        size = write_checkpoint(source, layers=arguments.layers)
        print(json.dumps({"source_gigabytes": round(size / 1e9, 2)}), flush=True)
        for name, to, settings in TARGETS:
            target = arguments.folder / f"converted-{name}"
            command = [sys.executable, "-m", "qwen7b", "convert", str(source), str(target), "--to", to, "--json"]
            report, seconds, peak = measure(command + settings)
            size = sum(file["bytes"] for file in report["files"].values())
            line = {
                "target": name,
                "gigabytes": round(size / 1e9, 2),
                "seconds": round(seconds),
                "of_which": report["seconds"],
                "peak_gigabytes": round(peak / 1e9, 2),
                "logits": report["logits"],
            }
            print(json.dumps(line), flush=True)
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink()
                target.with_suffix(".conversion.json").unlink()
    finally:
        shutil.rmtree(source, ignore_errors=True)


if __name__ == "__main__":
    main()
