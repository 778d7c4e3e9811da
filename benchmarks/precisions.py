"""Measures what each precision costs on a part of MMLU: right answers, memory and speed.

    python benchmarks/precisions.py --data FOLDER [--precisions q8,nf4,hf-nf4] [--subjects 3] [--limit 20]
        [--model demo] [--threads 2] [--seed 13] [--work FOLDER] [--json]

FOLDER is MMLU's, whose subjects the seed chooses. q8, q4, nf4 and bfloat16 are qwen7b's; hf-bfloat16, hf-nf4 and
hf-int8 are qwen7b's class for Transformers on a checkpoint in the original's format, the last two by bitsandbytes,
asked through lm-eval. All get the same prompts, each precision in a process of its own. Prints for each the score with
its interval, the process's peak memory, the seconds an item and the tokens per second of a text that is written.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped]
from lm_eval_reference import chosen_subjects, converted, letter_requests

import qwen7b
from qwen7b import kernels
from qwen7b.evals.outputs import outputs
from qwen7b.system.memory import peak_bytes
from qwen7b.tasks import TASKS, Item, TaskPlan
from qwen7b.tasks.intervals import share_right
from qwen7b.tasks.item import Letters

MMLU = TASKS["mmlu"]
PRECISIONS = ("q8", "q4", "nf4", "bfloat16", "hf-bfloat16", "hf-nf4", "hf-int8")
TEXT, NUM_TOKENS = "The history of the printing press begins", 32


def ask_ours(model: str, precision: str, items: Sequence[Item], wanted: Letters) -> tuple[list[str], float, float]:
    """The letters, the seconds that they took, and the tokens per second of writing."""
    is_packed = precision in ("q8", "q4", "nf4")
    qwen = qwen7b.load(model, quantize=precision) if is_packed else qwen7b.load(model, dtype=precision)
    qwen.complete(TEXT, max_new_tokens=1, temperature=0)
    start = time.perf_counter()
    answered = {item.id: output.text for item, output in outputs(qwen, items, wanted, chat=False)}
    answering = time.perf_counter()
    written = qwen.complete(TEXT, max_new_tokens=NUM_TOKENS, temperature=0).usage.completion_tokens
    speed = written / (time.perf_counter() - answering)
    return [answered[item.id] for item in items], answering - start, speed


def ask_transformers(
    model: str, precision: str, items: Sequence[Item], wanted: Letters, work: Path
) -> tuple[list[str], float, float]:
    """The same by the class for Transformers."""
    import transformers

    from qwen7b.hf import QWenLMHeadModel

    bits: dict[str, dict[str, Any]] = {
        "hf-bfloat16": {},
        "hf-nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16},
        "hf-int8": {"load_in_8bit": True},
    }
    folder = converted(model, work, to="qwen", dtype=None)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a warning for every layer
    config: Any = transformers.BitsAndBytesConfig
    settings = {"quantization_config": config(**bits[precision])} if bits[precision] else {}
    loaded: Any = QWenLMHeadModel.from_pretrained(folder, dtype=torch.bfloat16, device_map="cpu", **settings)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    loaded.eval()
    harness = HFLM(pretrained=loaded, tokenizer=tokenizer, batch_size=1)
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    loaded.generate(ids, max_new_tokens=1)
    start = time.perf_counter()
    requests = letter_requests(items, wanted)
    logprobs = [logprob for logprob, _ in harness.loglikelihood(requests, disable_tqdm=True)]
    answering = time.perf_counter()
    loaded.generate(ids, max_new_tokens=NUM_TOKENS, min_new_tokens=NUM_TOKENS, do_sample=False)
    four = [logprobs[first : first + 4] for first in range(0, len(logprobs), 4)]
    letters = ["ABCD"[max(range(4), key=row.__getitem__)] for row in four]
    return letters, answering - start, NUM_TOKENS / (time.perf_counter() - answering)


def measure(arguments: argparse.Namespace, precision: str) -> dict[str, Any]:
    torch.set_num_threads(arguments.threads)
    kernels.set_num_threads(arguments.threads)
    subjects = chosen_subjects(MMLU, arguments.seed, arguments.subjects)
    plan = MMLU.completed(TaskPlan(subjects=subjects, limit=arguments.limit))
    items, wanted = MMLU.items(arguments.data, plan), MMLU.wanted(plan)
    assert isinstance(wanted, Letters)
    if precision.startswith("hf-"):
        letters, answering, speed = ask_transformers(arguments.model, precision, items, wanted, arguments.work)
    else:
        letters, answering, speed = ask_ours(arguments.model, precision, items, wanted)
    right = [letter == item.answer for letter, item in zip(letters, items, strict=True)]
    score, interval = share_right([right], is_mean=False)
    return {
        "precision": precision,
        "subjects": subjects,
        "items": len(items),
        "score": score,
        "interval": interval,
        "peak_bytes": peak_bytes(),
        "seconds_an_item": round(answering / len(items), 3),
        "tokens_per_second": round(speed, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--subjects", type=int, default=3)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--work", type=Path, default=Path("lm-eval-comparison"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    precisions = arguments.precisions.split(",")
    if len(precisions) == 1:
        print(json.dumps(measure(arguments, precisions[0])))
        return
    found = []
    for precision in precisions:
        command = [sys.executable, __file__, *sys.argv[1:], "--precisions", precision]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(
            found[-1] if not arguments.json else precision,
            file=sys.stderr if arguments.json else sys.stdout,
            flush=True,
        )
    if arguments.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
