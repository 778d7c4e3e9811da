"""Checks that llama.cpp, on a converted GGUF file, replies as qwen7b does on the model that it was made from.

    python benchmarks/llama_cpp_agreement.py [--work FOLDER] [--model demo] [--types f16 q8_0]

converts the model to GGUF of each type, lets llama.cpp (PyPI xllamacpp, in its own virtual environment) answer
twenty prompts greedily with the log-probabilities of its likeliest tokens, and has qwen7b compute the unconverted model
in float32 over the same tokens. Prints JSON for each type:

    identical         replies whose every token is the likeliest to qwen7b too
    agreeing_tokens   share of the tokens that are the likeliest to qwen7b
    largest_gap       for the other tokens, how much likelier qwen7b finds its own choice, in nats: near ties
    kl_divergence     of llama.cpp's distribution from qwen7b's, in nats, over llama.cpp's likeliest tokens and the rest
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from environments import make_environment
from prompts import PROMPTS

REQUIREMENT = "xllamacpp==2026.10.11549"
NUM_LIKELIEST = 200


def answer(file: str, prompts: list[list[int]], max_new_tokens: int, threads: int) -> list[list[dict[str, Any]]]:
    """Generate greedily, with the likeliest alternatives of each token; this runs in the environment of xllamacpp."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = file
    parameters.n_ctx = 2048
    parameters.n_parallel = 1
    parameters.warmup = False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(parameters)
    replies = []
    for ids in prompts:
        reply = server.handle_completions(
            {
                "prompt": ids,
                "n_predict": max_new_tokens,
                "temperature": 0,
                "n_probs": NUM_LIKELIEST,
                "cache_prompt": False,
            }
        )
        replies.append(
            [
                {"id": token["id"], "top": [[top["id"], top["logprob"]] for top in token["top_logprobs"]]}
                for token in reply["choices"][0]["logprobs"]["content"]
            ]
        )
    return replies


def ask_llama_cpp(python: Path, **question: Any) -> Any:
    """Return the replies of `answer`, which runs as a process in the other environment."""
    with TemporaryDirectory() as folder:
        question_path, reply_path = Path(folder) / "question.json", Path(folder) / "reply.json"
        question_path.write_text(json.dumps(question))
        process = subprocess.run(
            [python, __file__, "--worker", question_path, reply_path], capture_output=True, text=True
        )
        if process.returncode:
            sys.exit(process.stderr)
        return json.loads(reply_path.read_text())


def compare(qwen: Any, prompts: list[list[int]], replies: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Compare with qwen7b's logits for llama.cpp's own tokens, so that every position has the same context."""
    import torch

    identical, gaps, divergences = 0, [], []
    for prompt, reply in zip(prompts, replies, strict=True):
        ids = torch.tensor([prompt + [token["id"] for token in reply]])
        with torch.inference_mode():
            logprobs = qwen.model(ids[:, :-1])[0, len(prompt) - 1 :].double().log_softmax(-1)
        differing = 0
        for token, ours in zip(reply, logprobs, strict=True):
            top_ids = torch.tensor([id for id, _ in token["top"]])
            theirs = torch.tensor([logprob for _, logprob in token["top"]], dtype=torch.float64)
            rest = (1 - theirs.exp().sum()).clamp(min=1e-12), (1 - ours[top_ids].exp().sum()).clamp(min=1e-12)
            divergence = (theirs.exp() * (theirs - ours[top_ids])).sum() + rest[0] * (rest[0] / rest[1]).log()
            divergences.append(float(divergence))
            if int(ours.argmax()) != token["id"]:
                differing += 1
                gaps.append(float(ours.max() - ours[token["id"]]))
        identical += not differing
    divergence = torch.tensor(divergences)
    return {
        "replies": len(replies),
        "identical": identical,
        "tokens": len(divergences),
        "agreeing_tokens": round(1 - len(gaps) / len(divergences), 5),
        "largest_gap": round(max(gaps, default=0.0), 4),
        "gaps": sorted(round(gap, 4) for gap in gaps),
        "kl_divergence": {
            "mean": float(divergence.mean()),
            "median": float(divergence.median()),
            "largest": float(divergence.max()),
        },
    }


def run(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    import torch

    import qwen7b
    from qwen7b.convert import convert

    python = make_environment(arguments.venv or work / "xllamacpp", REQUIREMENT)
    qwen = qwen7b.load(arguments.model, dtype=torch.float32)
    prompts = [qwen7b.chat_prompt(qwen.tokenizer, [{"role": "user", "content": prompt}]) for prompt in PROMPTS]
    results: dict[str, Any] = {"llama.cpp": REQUIREMENT, "model": arguments.model}
    for name in arguments.types:
        file = work / f"{Path(arguments.model).stem}-{name}.gguf"
        if not file.exists():
            convert(arguments.model, file, to="gguf", quantize=name)
        replies = ask_llama_cpp(
            python,
            file=str(file),
            prompts=prompts,
            max_new_tokens=arguments.max_new_tokens,
            threads=arguments.threads,
        )
        results[name] = compare(qwen, prompts, replies)
        results[f"{name}, qwen7b on the same file"] = compare(qwen7b.load(file, dtype=torch.float32), prompts, replies)
    return results


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        question = json.loads(Path(sys.argv[2]).read_text())
        Path(sys.argv[3]).write_text(json.dumps(answer(**question)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--types", nargs="+", default=["f16", "q8_0"])
    parser.add_argument("--work", type=Path, help="where files and environment stay; by default they are removed")
    parser.add_argument("--venv", type=Path, help="an environment that has xllamacpp, or where to make one")
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1, help="of llama.cpp; more than the free cores crawl")
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary:
        print(json.dumps(run(arguments, arguments.work or Path(temporary)), indent=2))


if __name__ == "__main__":
    main()
