"""lm-eval's records, as `lm_eval --log_samples` writes them (0.4.13): samples_TASK_DATE.jsonl, a line for each item."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from qwen7b.errors import SettingError
from qwen7b.results.saved_run import SavedRun, read_lines, read_object
from qwen7b.system.json_file import parse_json
from qwen7b.tasks.item import text_hash

_QUESTION_FIELDS = ("question", "Question", "prompt")
_OPTION_FIELDS = ("A", "B", "C", "D")
_METRICS = ("acc", "exact_match", "pass@1")
"""Those that say of one item whether it is right, the first of them that a record has."""


def sample_files(path: Path) -> list[Path]:
    """The files of samples that a path names: itself, or those in a folder and the folders in it."""
    if path.is_file():
        return [path] if path.name.startswith("samples_") else []
    return sorted(path.rglob("samples_*.jsonl"))


def read_samples(files: Sequence[Path], *, name: str) -> SavedRun:
    """lm-eval's run whose samples are in these files: a task and all its subjects. Raises SettingError."""
    records: list[dict[str, Any]] = []
    filters: list[str] = []
    for path in files:
        for number, line in enumerate(read_lines(path), start=1):
            if line.strip():
                try:
                    sample = parse_json(line)
                    record = _record(sample, task=path.stem.removeprefix("samples_").rpartition("_")[0])
                except (ValueError, LookupError, TypeError, AttributeError):
                    raise SettingError(f"line {number} of {path} is no sample of lm-eval") from None
                if sample["filter"] not in filters:
                    filters.append(sample["filter"])
                if sample["filter"] == filters[0]:  # the others read the same replies in other ways
                    records.append(record)
    if not records:
        raise SettingError(f"{files[0]} has no samples: did lm-eval come to its end?")
    return SavedRun(name=name, signature=_signature(files[0].parent, filters[0]), records=records, is_ours=False)


def _record(sample: Mapping[str, Any], *, task: str) -> dict[str, Any]:
    """A sample as a record of ours; `question` and `options` are what its document says, to find the item by."""
    requests = [list(arguments.values()) for arguments in sample["arguments"].values()]
    prompt = requests[0][0]
    document = sample["doc"]
    metric = next((sample[name] for name in _METRICS if name in sample), None)
    options = document.get("choices") or [document[name] for name in _OPTION_FIELDS if name in document]
    asked = {
        "id": f"{task}/{sample['doc_id']}",
        "subject": task,
        "prompt_hash": text_hash(prompt),
        "prompt": prompt,
        "question": next((str(document[name]) for name in _QUESTION_FIELDS if name in document), ""),
        "options": [str(option) for option in options],
        "correct": None if metric is None else bool(metric),
        "truncated": False,
        "tie": False,
        "guess": False,
    }
    if len(requests) > 1:
        logprobs = [float(response[0]) for response in sample["filtered_resps"]]
        first, second = sorted(logprobs, reverse=True)[:2]
        return asked | {
            "logprobs": logprobs,
            "choice_texts": [request[1] for request in requests],
            "margin": first - second if math.isfinite(second) else None,
            "predicted": ascii_uppercase[logprobs.index(first)],
            "answer": ascii_uppercase[int(sample["target"])] if sample["target"].isdecimal() else sample["target"],
        }
    return asked | {
        "output": str(sample["resps"][0][0]),
        "margin": None,
        "predicted": _text(sample["filtered_resps"][0]),
        "answer": sample["target"],
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _signature(folder: Path, filter_name: str) -> dict[str, Any]:
    """What lm-eval says of the run in the newest results_DATE.json beside the samples."""
    signature: dict[str, Any] = {"task": "", "procedure": "lm-eval", "filter": filter_name}
    files = sorted(folder.glob("results_*.json"))
    if not files:
        return signature
    found = read_object(files[-1])
    config = found.get("config") or {}
    shots = set((found.get("n-shot") or {}).values())
    arguments = config.get("model_args")
    if isinstance(arguments, dict):
        arguments = ",".join(f"{name}={value}" for name, value in arguments.items())
    versions = {"lm-eval": found.get("lm_eval_version"), "transformers": found.get("transformers_version")}
    known = {
        "shots": shots.pop() if len(shots) == 1 else None,
        "model": f"{config.get('model')} {arguments or ''}".strip(),
        "precision": str(config.get("model_dtype", "")).removeprefix("torch."),
        "versions": {name: number for name, number in versions.items() if number},
    }
    return {
        **signature,
        "chat": bool(found.get("chat_template")),
        "limit": config.get("limit"),
        **{name: value for name, value in known.items() if value not in (None, "")},
    }
