"""llama.cpp as llama-cpp-python compiles it for this processor: a task as JSON in, its speeds as JSON out."""

import json
import random
import sys
import time
from typing import Any

from llama_cpp import Llama


def main(task: dict[str, Any]) -> dict[str, float]:
    start = time.perf_counter()
    llama = Llama(
        task["file"], n_ctx=2048, n_batch=512, n_threads=task["threads"], n_threads_batch=task["threads"], verbose=False
    )
    load_seconds = time.perf_counter() - start

    def seconds(num_tokens: int) -> float:
        start = time.perf_counter()
        llama.eval([random.randrange(1000, 100_000) for _ in range(num_tokens)])
        return time.perf_counter() - start

    seconds(16)
    llama.reset()
    prefill_seconds = seconds(task["prompt_tokens"])
    llama.reset()
    seconds(task["context"])
    return {
        "prefill": task["prompt_tokens"] / prefill_seconds,
        "decode": task["new_tokens"] / sum(seconds(1) for _ in range(task["new_tokens"])),
        "load_seconds": load_seconds,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
