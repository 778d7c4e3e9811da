"""Greedy replies of converted checkpoints, in qwen7b and in Transformers, token by token.

    python benchmarks/conversion.py [--work FOLDER] [--model demo]

converts the model to the original Qwen's layout and from there to Qwen2's, in float32, and answers twenty prompts with
qwen7b on the model itself and on both folders, with Transformers through `qwen7b.hf` on the first folder, and with
Transformers' own Qwen2ForCausalLM on the second. Prints JSON: for each the number of replies whose tokens are those of
qwen7b on the model itself. Needs the extra hf and 8 GB of disk.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from prompts import PROMPTS

import qwen7b
from qwen7b.convert import convert

Replies = list[list[int]]


def ask_qwen7b(path: str | Path, max_new_tokens: int) -> Replies:
    qwen = qwen7b.load(path, dtype=torch.float32)
    return [qwen.chat(prompt, sampling=qwen7b.Greedy(), max_new_tokens=max_new_tokens).token_ids for prompt in PROMPTS]


def ask_transformers(path: Path, max_new_tokens: int, *, model_class: Any, tokenizer_class: Any) -> Replies:
    """Reply with Transformers, using the folder's own tokenizer and chat template."""
    model = model_class.from_pretrained(path, dtype=torch.float32).eval()
    tokenizer = tokenizer_class.from_pretrained(path)
    system = {"role": "system", "content": "You are a helpful assistant."}  # Qwen2.5's template has another default
    stop_ids = load_stop_ids(path)
    replies = []
    for prompt in PROMPTS:
        messages = [system, {"role": "user", "content": prompt}]
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=stop_ids,
            pad_token_id=stop_ids[0],
        )
        reply = output[0, inputs["input_ids"].shape[1] :].tolist()
        replies.append([token for token in reply if token not in stop_ids])
    return replies


def load_stop_ids(path: Path) -> list[int]:
    return sorted(qwen7b.load_tokenizer(path).stop_ids)


def run(model: str, work: Path, max_new_tokens: int) -> dict[str, Any]:
    import transformers

    import qwen7b.hf  # noqa: F401  # registers first-generation Qwen

    for source, target, to in ((model, work / "qwen", "qwen"), (work / "qwen", work / "qwen2", "qwen2")):
        if not target.exists():
            convert(source, target, to=to, dtype="float32")
    auto = {"model_class": transformers.AutoModelForCausalLM, "tokenizer_class": transformers.AutoTokenizer}
    own = {"model_class": transformers.Qwen2ForCausalLM, "tokenizer_class": transformers.AutoTokenizer}
    contestants: dict[str, Callable[[], Replies]] = {
        "qwen7b, the model itself": lambda: ask_qwen7b(model, max_new_tokens),
        "qwen7b, folder qwen": lambda: ask_qwen7b(work / "qwen", max_new_tokens),
        "qwen7b, folder qwen2": lambda: ask_qwen7b(work / "qwen2", max_new_tokens),
        "qwen7b.hf, folder qwen": lambda: ask_transformers(work / "qwen", max_new_tokens, **auto),
        "Qwen2ForCausalLM, folder qwen2": lambda: ask_transformers(work / "qwen2", max_new_tokens, **own),
    }
    expected: Replies = []
    identical: dict[str, int] = {}
    for name, ask in contestants.items():
        replies = ask()
        expected = expected or replies
        identical[name] = sum(map(list.__eq__, replies, expected))
        print(f"{name}: {identical[name]} of {len(replies)}", file=sys.stderr, flush=True)
        gc.collect()
    return {
        "prompts": len(PROMPTS),
        "tokens": sum(map(len, expected)),
        "identical": identical,
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--work", type=Path, help="where the converted folders stay; by default they are removed")
    parser.add_argument("--max-new-tokens", type=int, default=32)
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary:
        report = run(arguments.model, arguments.work or Path(temporary), arguments.max_new_tokens)
    print(json.dumps(report, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
