"""What outputs answer, as the task reads them: with the model's tokens and the task's checker, where it needs those."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Self

from qwen7b.errors import SettingError
from qwen7b.tasks.item import Item, Reading
from qwen7b.tasks.procedure import TaskPlan
from qwen7b.tasks.rouge import printed_words, rouge_l
from qwen7b.tasks.task import Task
from qwen7b.text import Tokenizer


class OutputReader:
    """Reads outputs of one run. A checker runs in a process and with libraries of its own, from its first call on."""

    def __init__(self, task: Task, plan: TaskPlan, tokenizer: Tokenizer, folder: Path) -> None:
        self._task = task
        self._plan = plan
        self._tokenizer = tokenizer
        self._folder = folder
        self._checker: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._checker is not None:
            self._checker.kill()
            self._checker.communicate()

    def read(self, item: Item, output: str) -> Reading:
        """What an output answers. Raises SettingError where the task's checker does not run."""
        reading = self._task.read(item, output, self._plan)
        if reading.checked is not None:
            verdict = self._verdict(json.dumps(reading.checked))
            return replace(reading, correct=verdict["valid"] is True, error=str(verdict["error"]))
        if (pair := reading.comparison) is not None:
            words, reference = (
                printed_words(map(self._tokenizer.token_bytes, self._tokenizer.encode(text)))
                for text in (pair.text, pair.reference)
            )
            return replace(reading, scores={**reading.scores, pair.score: rouge_l(words, reference)})
        return reading

    def _verdict(self, line: str) -> dict[str, object]:
        if self._checker is None:
            command = self._task.checker(self._folder)
            assert command is not None
            self._checker = subprocess.Popen(
                [sys.executable, "-I", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
        stdin, stdout, stderr = self._checker.stdin, self._checker.stdout, self._checker.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        try:
            stdin.write(line + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # it says why below
        answer = stdout.readline()
        try:
            verdict = json.loads(answer)
            return {"valid": verdict["valid"], "error": verdict["error"]}
        except (ValueError, TypeError, KeyError):
            self._checker.kill()  # or what it has still to say would be waited for
            said = (stderr.read().strip().splitlines() or [answer.strip() or "nothing"])[-1]
            raise SettingError(
                f"the checker of {self._task.name} in {self._folder} does not run, and says: {said:.300}"
            ) from None
