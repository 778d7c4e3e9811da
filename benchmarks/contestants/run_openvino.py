"""OpenVINO GenAI, which reads GGUF: a task as JSON in, its speeds as JSON out. Runs in an environment of its own."""

import json
import random
import sys
import time
from typing import Any

import numpy as np
import openvino
import openvino_genai


def main(task: dict[str, Any]) -> dict[str, float]:
    start = time.perf_counter()
    pipeline = openvino_genai.LLMPipeline(
        task["file"], "CPU", INFERENCE_NUM_THREADS=task["threads"], PERFORMANCE_HINT="LATENCY"
    )
    load_seconds = time.perf_counter() - start

    def generate(num_tokens: int, new_tokens: int) -> Any:
        ids = np.array([[random.randrange(1000, 100_000) for _ in range(num_tokens)]], dtype=np.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        result = pipeline.generate(inputs, max_new_tokens=new_tokens, ignore_eos=True, do_sample=False)
        assert len(result.tokens[0]) == new_tokens, len(result.tokens[0])
        return result.perf_metrics

    generate(16, 2)  # the first call compiles
    prefill = generate(task["prompt_tokens"], 1)
    decode = generate(task["context"], task["new_tokens"] + 1)
    return {
        "prefill": task["prompt_tokens"] / prefill.get_ttft().mean * 1000,
        "decode": 1000 / decode.get_tpot().mean,
        "load_seconds": load_seconds,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
