"""What training an adapter takes, in a process of its own, as a peak only grows. `train.py memory` tries all weights.

python benchmarks/adapter_memory.py [--model demo] [--tokens 512] [--rank 64] [--steps 1] [--format q4]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import torch

from qwen7b.adapters.adapted_modules import add_adapter
from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings
from qwen7b.checkpoint import open_checkpoint
from qwen7b.hub.locate import locate
from qwen7b.loading import load_model
from qwen7b.packed.formats import FORMATS
from qwen7b.system.memory import peak_bytes, return_large_blocks
from qwen7b.train.loop import Spikes, take_step
from qwen7b.train.micro_batch import labelled
from qwen7b.train.optimizers import Optimizers
from qwen7b.train.recipe import Training


def measure_memory(model: str, *, tokens: int, rank: int, steps: int, threads: int) -> dict[str, Any]:
    """What a process takes at most that trains an adapter beside weights of each kind, and a step's time."""
    results: dict[str, Any] = {"model": model, "tokens": tokens, "rank": rank, "threads": threads}
    for format in (None, *FORMATS):
        command = [sys.executable, __file__, "--model", model, "--tokens", str(tokens)]
        command += ["--rank", str(rank), "--steps", str(steps), "--threads", str(threads)]
        command += ["--format", format] if format else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[format or "float32"] = json.loads(done.stdout)
    return results


def measure_one_memory(
    model: str, *, format: str | None, tokens: int, rank: int, steps: int, threads: int
) -> dict[str, Any]:
    """What `measure_memory` says of one kind of weights, of this process; None for float32."""
    torch.set_num_threads(threads)
    return_large_blocks()  # as fine-tuning does with --recompute
    checkpoint = open_checkpoint(locate(model))
    loaded = load_model(checkpoint, dtype="float32", quantize=format or "none", keep=format is not None)
    held = sum(tensor.nbytes for tensor in {one.data_ptr(): one for one in loaded.state_dict().values()}.values())
    before = peak_bytes()
    add_adapter(loaded, LoraSettings(targets=DEFAULT_TARGETS[checkpoint.config.family], rank=rank))
    ids = torch.randint(0, 1000, (tokens,), generator=torch.Generator().manual_seed(0))
    training = Training(steps=steps, activation_checkpointing=True)
    optimizers, spikes, seconds, losses = Optimizers(training.optimizer, loaded), Spikes(1e9), [], []
    for step in range(steps):
        start = time.perf_counter()
        record = take_step(loaded, optimizers, [labelled([ids], [ids])], training, step=step, spikes=spikes)
        seconds.append(round(time.perf_counter() - start, 2))
        losses.append(round(record.loss, 4))
    return {
        "weights_mb": round(held / 1e6),
        "adapter_and_optimizer_mb": round(16 * sum(one.numel() for one in optimizers.trained.values()) / 1e6),
        "peak_after_loading_mb": round(before / 1e6),
        "peak_mb": round(peak_bytes() / 1e6),
        "seconds_a_step": seconds,
        "losses": losses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--tokens", type=int, default=512, help="of the step's one conversation")
    parser.add_argument("--rank", type=int, default=64, help="the adapter's")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--format", choices=tuple(FORMATS), help="by default float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    print(json.dumps(measure_one_memory(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
