"""Runs as they lie on the disk: TASK.jsonl has a record for each item, TASK.json the signature and the score."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen7b.errors import SettingError, quoted
from qwen7b.system.json_file import parse_json
from qwen7b.system.regular_file import SMALL_FILE_LIMIT, TEXT_LIMIT, read_whole

_TEXTS = ("id", "subject", "prompt_hash", "prompt", "predicted", "answer")
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
    lines = read_lines(path)[:-1]
    return SavedRun(
        name=name,
        signature=signature,
        summary=summary,
        records=[parse_record(line, path, number) for number, line in enumerate(lines, start=1)],
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


def parse_record(line: bytes, path: Path, number: int) -> dict[str, Any]:
    """The record in a line. Raises SettingError where it is none."""
    try:
        record = parse_json(line)
    except ValueError:
        record = None
    if not _is_record(record):
        raise SettingError(f"line {number} of {path} is no result of qwen7b: choose another folder")
    assert isinstance(record, dict)
    return record


def asked_text(record: Mapping[str, Any]) -> str:
    """All that the model was given: in a chat, what was said before the prompt, and how the reply begins, too."""
    said = [text for turn in record.get("turns", ()) for text in turn]
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
    )


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(number, float | int) for number in value)
