"""The records of a run: a line of JSON for each item, written as it comes, and the run's signature beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from qwen7b.errors import SettingError, quoted
from qwen7b.results.saved_run import add_record, check_summary, read_object
from qwen7b.system.appended_lines import AppendedLines
from qwen7b.system.whole_file import write_text_whole

_BEGINNING = b'{"id": '
"""How every record begins."""


class Records:
    """OUT/TASK.jsonl with the records, and OUT/TASK.json with the signature and, in the end, the score.

    Without a folder nothing is kept. Raises SettingError where the folder cannot be written; where it has records and
    `resume` is not given; and where they are of a run with another signature.
    """

    def __init__(self, folder: Path | None, signature: Mapping[str, Any], *, resume: bool) -> None:
        self.earlier: dict[str, dict[str, Any]] = {}
        """The records of an earlier run by their ids, where there is one and it is to be resumed."""
        self.earlier_summary: dict[str, Any] = {}
        """What an earlier run wrote beside its records; with a score, if it came to its end."""
        self._lines: AppendedLines | None = None
        if folder is None:
            return
        if folder.exists() and not folder.is_dir():
            raise SettingError(f"results cannot be kept in {folder}, which is a file: name a folder (--out)")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(
                f"results cannot be kept in {folder} ({error.strerror or error}): name another folder (--out)"
            ) from error
        self.path = folder / f"{signature['task']}.jsonl"
        self.summary_path = self.path.with_suffix(".json")
        self._lines = AppendedLines(self.path, noun="results")
        try:
            self._read_earlier(self._lines, signature, resume=resume)
        except BaseException:
            self._lines.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._lines is not None:
            self._lines.__exit__(*error)

    def add(self, record: Mapping[str, Any]) -> None:
        if self._lines is not None:
            self._lines.add(record)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        if self._lines is None:
            return
        try:
            write_text_whole(self.summary_path, json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise SettingError(f"results cannot be kept in {self.summary_path}: {error.strerror or error}") from error

    def _read_earlier(self, lines: AppendedLines, signature: Mapping[str, Any], *, resume: bool) -> None:
        is_cut = False
        for number, line in lines.lines():
            if not line.endswith(b"\n") and line.startswith(_BEGINNING[: len(line)]):
                is_cut = True  # the process was killed, or the disk full
                break
            add_record(self.earlier, line, self.path, number)
        if self.earlier and not resume:
            raise SettingError(f"{self.path} has results already: resume (--resume), or choose another folder")
        if self.earlier:
            self.earlier_summary = self._checked_summary(signature)
        if is_cut:
            lines.replace(line for _, line in lines.lines() if line.endswith(b"\n"))
        if not self.earlier:
            self.write_summary({"signature": signature})

    def _checked_summary(self, signature: Mapping[str, Any]) -> dict[str, Any]:
        """The earlier run's summary. Raises SettingError for that of another run."""
        try:
            summary = read_object(self.summary_path)
        except SettingError:
            summary = {}
        before = summary.get("signature")
        if not isinstance(before, dict):
            raise SettingError(f"{self.summary_path} does not say which run {self.path} is of: choose another folder")
        # JSON makes lists of tuples.
        now = json.loads(json.dumps(signature))
        for field in now | before:  # in their order: the task before the prompts that follow from it
            if now.get(field) != before.get(field):
                raise SettingError(
                    f"{self.path} is of a run with another {field}, {quoted(before.get(field))} and not "
                    f"{quoted(now.get(field))}: choose another folder"
                )
        check_summary(summary, self.summary_path)
        return summary
