"""llama.cpp, through xllamacpp's server: a task as JSON in, its speeds as JSON out. Runs in an environment of its own.

The server itself times both halves. Its count of generated tokens includes the one that the prompt's pass gave.
"""

import json
import random
import sys
import time
from typing import Any

import xllamacpp


def main(task: dict[str, Any]) -> dict[str, float]:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = task["file"]
    parameters.n_ctx = 2048
    parameters.n_parallel = 1
    parameters.cache_prompt = False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = task["threads"]
    start = time.perf_counter()
    server = xllamacpp.Server(parameters)  # warms up by itself
    load_seconds = time.perf_counter() - start

    def complete(num_tokens: int, new_tokens: int) -> dict[str, Any]:
        question = {
            "prompt": [random.randrange(1000, 100_000) for _ in range(num_tokens)],
            "n_predict": new_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        timings: dict[str, Any] = server.handle_completions(question)["timings"]
        assert (timings["prompt_n"], timings["predicted_n"]) == (num_tokens, new_tokens), timings
        return timings

    prefill = complete(task["prompt_tokens"], 1)
    decode = complete(task["context"], task["new_tokens"] + 1)
    return {
        "prefill": task["prompt_tokens"] / prefill["prompt_ms"] * 1000,
        "decode": task["new_tokens"] / decode["predicted_ms"] * 1000,
        "load_seconds": load_seconds,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
