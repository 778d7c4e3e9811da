"""Runs as they lie on the disk: TASK.jsonl has a record for each item, TASK.json the signature and the score."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from qwen7b.errors import SettingError, quoted
from qwen7b.system.json_file import parse_json
from qwen7b.system.regular_file import SMALL_FILE_LIMIT, TEXT_LIMIT, read_whole
from qwen7b.tasks.procedure import Procedure

_TEXTS = ("id", "subject", "question_hash", "prompt_hash", "prompt", "predicted", "answer")
_FLAGS = ("truncated", "tie", "guess")


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedRun:
    """One task's run. `name` tells it from others: the path that the user gave."""

    name: str
    signature: Mapping[str, Any] = field(repr=False)
    records: list[dict[str, Any]] = field(repr=False)
    summary: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The score and what stands beside it; empty where the run is not finished or is another program's."""
    is_ours: bool = True
    """Whether qwen7b made it, and not lm-eval."""


def read_runs(path: Path) -> dict[str, SavedRun]:
    """The runs in a folder of results, or that of one file TASK.jsonl, by task. Raises SettingError."""
    return {file.stem: read_run(file, name=str(path)) for file in result_files(path)}


def result_files(path: Path) -> list[Path]:
    """The files of records that a path names; a folder has one for each task. Raises SettingError if there is none."""
    if path.is_file():
        return [path]
    if not (files := own_files(path)):
        raise SettingError(
            f"{path} has no results of qwen7b eval: there should be a TASK.jsonl with a TASK.json beside it"
        )
    return files


def own_files(folder: Path) -> list[Path]:
    """Those of a folder that have a file TASK.json beside them. Raises SettingError where it cannot be read."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".jsonl"))
    except OSError as error:
        raise SettingError(f"{folder} cannot be read: {error.strerror or error}") from None
    return [folder / name for name in names if (folder / name).with_suffix(".json").is_file()]


def read_run(path: Path, *, name: str) -> SavedRun:
    """The run whose records are in a file. Raises SettingError for a file that is missing, damaged or something else's.

    A last line that was cut off is left out, as it is when a run is resumed.
    """
    beside = path.with_suffix(".json")
    summary = read_object(beside)
    signature = summary.pop("signature", None)
    if not isinstance(signature, dict) or not isinstance(signature.get("task"), str):
        raise SettingError(f"{beside} does not say which run {path} is of: is it a file of results of qwen7b eval?")
    if damaged := _damaged(signature, _SIGNED):
        raise SettingError(f"{beside} has a signature without a sound {damaged!r}: was it edited? Take another folder")
    check_summary(summary, beside)
    records: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(read_lines(path)[:-1], start=1):
        add_record(records, line, path, number)
    return SavedRun(name=name, signature=signature, summary=summary, records=list(records.values()))


def check_summary(summary: Mapping[str, Any], path: Path) -> None:
    """Raise SettingError for a score, or what stands beside it, that qwen7b did not write."""
    if damaged := _damaged(summary, _SUMMED):
        raise SettingError(
            f"{path} has a {damaged!r} that is none of qwen7b's, {quoted(summary.get(damaged))}: was it edited? Take "
            "another folder"
        )


def read_lines(path: Path) -> list[bytes]:
    """The lines of a file of results, and what comes after the last line's end. Raises SettingError."""
    try:
        return read_whole(path, limit=TEXT_LIMIT).split(b"\n")
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror or error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a small file beside results. Raises SettingError."""
    try:
        value = parse_json(read_whole(path, limit=SMALL_FILE_LIMIT))
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise SettingError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SettingError(f"{path} should hold a JSON object, found {quoted(value)}")
    return value


def add_record(records: dict[str, dict[str, Any]], line: bytes, path: Path, number: int) -> None:
    """Add the record in a line to others, by its id. Raises SettingError where it is none, or its id is there."""
    try:
        record = parse_json(line)
    except ValueError:
        record = None
    if not _is_record(record):
        raise SettingError(f"line {number} of {path} is no result of qwen7b: choose another folder")
    assert isinstance(record, dict)
    if record["id"] in records:
        raise SettingError(f"line {number} of {path} has the item {record['id']!r} again: was it edited? Drop one line")
    records[record["id"]] = record


def asked_text(record: Mapping[str, Any]) -> str:
    """All that the model was given: in a chat, what was said before the prompt, and how the reply begins, too."""
    said = [text for turn in record.get("turns", ()) for text in turn]
    said += [text for _, text in record.get("earlier", ())]
    return "\n\n".join([*_given(record, "system"), *said, record["prompt"], *_given(record, "opening")])


def _given(record: Mapping[str, Any], name: str) -> list[str]:
    return [record[name]] if record.get(name) else []


def _is_record(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    has_output = isinstance(value.get("output"), str) or _are_numbers(value.get("logprobs"))
    return (
        has_output
        and all(isinstance(value.get(name), str) for name in _TEXTS)
        and all(isinstance(value.get(name), bool) for name in _FLAGS)
        and isinstance(value.get("correct"), bool | None)
        and ("logprobs" not in value or value["correct"] in (None, value["predicted"] == value["answer"]))
        and _damaged(value, _RECORDED) is None
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _is_interval(value: Any) -> bool:
    return value is None or (_are_numbers(value) and len(value) == 2)


def _is_score(value: Any) -> bool:
    return value is None or _is_number(value)


def _are_scores(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(map(_is_score, value.values())))


def _is_cost(value: Any) -> bool:
    if value is None:
        return True
    names = {"seconds", "tokens", "peak_memory_bytes"}
    return isinstance(value, dict) and value.keys() == names and all(map(_is_number, value.values()))


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(text, str) for text in value))


def _are_turns(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(turn, list) and _are_texts(turn) for turn in value)
    )


_Checks: TypeAlias = Mapping[str, Callable[[Any], bool]]
_RECORDED: _Checks = {
    **dict.fromkeys(("row", "margin", "prompt_tokens", "completion_tokens", "seconds"), _is_score),
    **dict.fromkeys(("system", "opening", "output", "outcome", "error", "reply", "tools"), _is_text),
    "choices": _are_texts,
    "scores": _are_scores,
    **dict.fromkeys(("turns", "earlier"), _are_turns),
}
_SUMMED: _Checks = {
    **dict.fromkeys(("score", "items"), _is_score),
    **dict.fromkeys(("groups", "more"), _are_scores),
    "interval": _is_interval,
    "remark": _is_text,
    "cost": _is_cost,
}
_SIGNED: _Checks = {
    **dict.fromkeys(("split", "precision"), lambda value: isinstance(value, str)),
    "procedure": lambda value: value in list(Procedure),
    "shots": lambda value: isinstance(value, int),
    "chat": lambda value: isinstance(value, bool),
}


def _damaged(value: Mapping[str, Any], checks: _Checks) -> str | None:
    """The first field that is not as it is written."""
    return next((name for name, is_sound in checks.items() if not is_sound(value.get(name))), None)
