"""Transformers, on a checkpoint folder or on random weights: a task as JSON in, its speeds as JSON out.

The loop is written out, since `generate` would add its own work to every step.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers


def load(task: dict[str, Any]) -> Any:
    auto: Any = transformers.AutoModelForCausalLM  # half of whose methods have no types
    dtype = getattr(torch, task["precision"])
    folder = Path(task["file"])
    if any(folder.glob("*.safetensors")):
        return auto.from_pretrained(folder, dtype=dtype).eval()
    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = auto.from_config(config, dtype=dtype)
    model = model.to_empty(device="cpu")
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    draw = torch.randn(1 << 20).mul_(0.02).to(dtype)
    for parameter in model.parameters():
        for part in parameter.data.view(-1).split(len(draw)):
            part.copy_(draw[: len(part)])
    return model.eval()


@torch.inference_mode()
def main(task: dict[str, Any]) -> dict[str, float]:
    torch.set_num_threads(task["threads"])
    start = time.perf_counter()
    model = load(task)
    load_seconds = time.perf_counter() - start

    def read_prompt(num_tokens: int) -> Any:
        return model(torch.randint(1000, 100_000, (1, num_tokens)), use_cache=True, logits_to_keep=1)

    read_prompt(16)
    start = time.perf_counter()
    read_prompt(task["prompt_tokens"])
    prefill_seconds = time.perf_counter() - start
    step = read_prompt(task["context"])
    start = time.perf_counter()
    for _ in range(task["new_tokens"]):
        step = model(step.logits[:, -1:].argmax(-1), past_key_values=step.past_key_values, use_cache=True)
    return {
        "prefill": task["prompt_tokens"] / prefill_seconds,
        "decode": task["new_tokens"] / (time.perf_counter() - start),
        "load_seconds": load_seconds,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
