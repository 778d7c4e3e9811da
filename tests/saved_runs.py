"""Runs written to the disk as `qwen7b eval` and lm-eval write them, with outputs that a test chooses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwen7b.tasks.intervals import wilson_interval

SIGNATURE: dict[str, Any] = {
    "task": "mmlu",
    "procedure": "standard",
    "split": "test",
    "shots": 5,
    "chat": False,
    "subjects": ["anatomy"],
    "limit": None,
    "items": 4,
    "prompts": "p",
    "data": "d",
    "model": "demo",
    "weights": "w",
    "precision": "q8",
    "device": "cpu",
    "kernels": "avx512",
    "context_length": 32768,
    "seed": None,
    "versions": {"qwen7b": "1.0", "torch": "2.13", "python": "3.12"},
}


def record(row: int, answer: str = "A", **changes: Any) -> dict[str, Any]:
    """A record of MMLU's anatomy: question `row`, for which all letters are alike but A, unless told otherwise."""
    question = f"What is bone {row}?"
    prompt = changes.pop("prompt", f"About anatomy.\n\n{question}\nA. a{row}\nB. b\nC. c\nD. d\nAnswer:")
    asked = {
        "id": f"anatomy/{row}",
        "subject": "anatomy",
        "row": row,
        "question_hash": hashlib.sha256(question.encode()).hexdigest()[:16],
        "prompt_hash": prompt_hash(prompt),
        "prompt": prompt,
    }
    if "output" in changes:
        answered: dict[str, Any] = {"output": changes["output"], "finish_reason": "stop", "completion_tokens": 3}
        predicted, margin = changes.get("predicted", ""), None
    else:
        logprobs = changes.get("logprobs", [-0.5, -2.0, -2.0, -2.0])
        answered = {"choices": [f"a{row}", "b", "c", "d"], "logprobs": logprobs}
        predicted = changes.get("predicted", "ABCD"[logprobs.index(max(logprobs))])
        first, second = sorted(logprobs, reverse=True)[:2]
        margin = first - second
    return {
        **asked,
        **answered,
        "predicted": predicted,
        "answer": answer,
        "correct": predicted == answer,
        "guess": False,
        "margin": margin,
        "truncated": False,
        "tie": False,
        "prompt_tokens": 30,
        **changes,
    }


def prompt_hash(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def write_run(folder: Path, records: Sequence[Mapping[str, Any]], **changes: Any) -> Path:
    """Write a run whose signature differs from SIGNATURE in these fields."""
    signature = SIGNATURE | {"items": len(records)} | changes
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{signature['task']}.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")
    known = [one["correct"] for one in records if one["correct"] is not None]
    summary = {
        **{name: signature[name] for name in ("task", "procedure", "split", "chat", "items")},
        "score": 100 * sum(known) / len(known) if known else None,
        "interval": wilson_interval(sum(known), len(known)) if known else None,
        "groups": {one["subject"]: 50.0 for one in records},
        "more": {},
        "abstained": sum(not one["predicted"] for one in records),
        "truncated": sum(one["truncated"] for one in records),
        "ties": sum(one["tie"] for one in records),
        "signature": signature,
    }
    path.with_suffix(".json").write_text(json.dumps(summary), "utf-8")
    return folder


def sample(
    row: int, logprobs: Sequence[float] = (-0.5, -2.0, -2.0, -2.0), *, question: str = "", **changes: Any
) -> dict[str, Any]:
    """lm-eval's sample of the question of `record`, as 0.4.13 logs a task of multiple choice; the answer is A."""
    question = question or f"What is bone {row}?"
    prompt = changes.pop("prompt", record(row)["prompt"])
    responses = [[str(logprob), "False"] for logprob in logprobs]
    return {
        "doc_id": row,
        "doc": {"question": question, "A": f"a{row}", "B": "b", "C": "c", "D": "d", "answer": "A"},
        "target": "0",
        "arguments": {
            f"gen_args_{place}": {"arg_0": prompt, "arg_1": f" {letter}"} for place, letter in enumerate("ABCD")
        },
        "resps": [[response] for response in responses],
        "filtered_resps": responses,
        "filter": "none",
        "metrics": ["acc"],
        "prompt_hash": hashlib.sha256(prompt.encode()).hexdigest(),
        "acc": float(logprobs.index(max(logprobs)) == 0),
        **changes,
    }


def write_samples(folder: Path, samples: Sequence[Mapping[str, Any]], task: str = "mmlu_anatomy") -> Path:
    """Write lm-eval's output folder."""
    own = folder / "demo"
    own.mkdir(parents=True, exist_ok=True)
    date = "2026-01-01T00-00-00.000000"
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in samples)
    (own / f"samples_{task}_{date}.jsonl").write_text(lines, "utf-8")
    results = {
        "config": {"model": "hf", "model_args": {"pretrained": "demo"}, "model_dtype": "torch.float32", "limit": None},
        "n-shot": {task: 5},
        "lm_eval_version": "0.4.13",
        "transformers_version": "5.24.0",
        "chat_template": None,
    }
    (own / f"results_{date}.json").write_text(json.dumps(results), "utf-8")
    return folder
