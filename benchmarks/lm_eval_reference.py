"""lm-eval with Transformers as the reference: our items as tasks of its own, and its answers to them."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate  # type: ignore[import-untyped]
from lm_eval.api.instance import Instance  # type: ignore[import-untyped]
from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped]
from lm_eval.tasks import TaskManager  # type: ignore[import-untyped]

from qwen7b.convert import convert
from qwen7b.tasks import Item, Task
from qwen7b.tasks.item import Letters, Text

NO_SETTINGS = "generation_config.json"
"""The checkpoint's own penalties and limits, which Transformers would apply whatever a task says."""


def converted(model: str, work: Path, *, to: str = "qwen2", dtype: str | None = "float32") -> Path:
    """The model's checkpoint as a class for Transformers reads it, made when it is first asked for."""
    target = work / f"{Path(model).name}-as-{to}"
    if not (target / "config.json").is_file():
        convert(model, target, to=to, dtype=dtype)
        (target / NO_SETTINGS).write_text(
            json.dumps({"eos_token_id": json.loads((target / NO_SETTINGS).read_text("utf-8"))["eos_token_id"]})
        )
    return target


def reference_model(path: Path, *, dtype: str = "float32") -> HFLM:
    return HFLM(pretrained=str(path), dtype=dtype, device="cpu", batch_size=1)


def chosen_subjects(task: Task, seed: int, number: int) -> tuple[str, ...]:
    """So many of a task's subjects, which the seed draws."""
    return tuple(random.Random(seed).sample(sorted(task.subjects()), number))


def letter_requests(items: Sequence[Item], wanted: Letters) -> list[Instance]:
    """lm-eval's questions for the likelihood of each letter after each prompt."""
    pairs = [(item.prompt, text) for item in items for text in wanted.texts]
    return [Instance("loglikelihood", {}, pair, 0) for pair in pairs]


def write_task(folder: Path, name: str, items: Sequence[Item], wanted: Letters | Text) -> None:
    """Write a task with the prompts of our items, to the letter."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.csv"
    answers = [max("ABCD".find(item.answer), 0) if isinstance(wanted, Letters) else item.answer for item in items]
    with data.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("prompt", "answer"), *zip((item.prompt for item in items), answers, strict=True)])
    task: dict[str, Any] = {
        "task": name,
        "dataset_path": "csv",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "keep_default_na": False},
        "test_split": "test",
        "doc_to_text": "prompt",
        "doc_to_target": "answer",
        "target_delimiter": "",
        "num_fewshot": 0,
    }
    if isinstance(wanted, Letters):
        task |= {
            "output_type": "multiple_choice",
            "doc_to_choice": list(wanted.texts),
            "metric_list": [{"metric": "acc"}],
        }
    else:
        generation = {"until": list(wanted.stop), "max_gen_toks": wanted.max_new_tokens, "do_sample": False}
        task |= {
            "output_type": "generate_until",
            "generation_kwargs": generation,
            "metric_list": [{"metric": "exact_match"}],
        }
    (folder / f"{name}.yaml").write_text(json.dumps(task, ensure_ascii=False), "utf-8")


def reference_samples(model: HFLM, folder: Path, name: str, *, kept: Path | None) -> dict[str, dict[str, Any]]:
    """What lm-eval records for a task, by the hash of the prompt; answers in `kept` are not made again."""
    found = simple_evaluate(
        model=model,
        tasks=[name],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        use_cache=None if kept is None else str(kept),
    )
    assert found is not None
    return {sample["prompt_hash"][:16]: sample for sample in found["samples"][name]}
