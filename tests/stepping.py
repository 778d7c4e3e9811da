"""What tests of the engine do to its steps: count what they read, interrupt them, and step on all the same."""

from __future__ import annotations

import dis
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from types import FrameType
from typing import Any

import pytest
from torch import Tensor

from qwen7b.generate.engine import Engine
from qwen7b.model import Transformer


def count_read(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The tokens of each sequence in each pass from now on."""
    passes, original = [], Transformer.passes

    def counted(self: Transformer, new_ids: Sequence[Tensor], **options: Any) -> Any:
        passes.append([len(ids) for ids in new_ids])
        return original(self, new_ids, **options)

    monkeypatch.setattr(Transformer, "passes", counted)
    return passes


def interrupt_passes(monkeypatch: pytest.MonkeyPatch, *, every: int) -> None:
    """Let Ctrl-C come before one pass in so many, and behind the one after it."""
    numbers, original = count(), Transformer.passes

    def passes(self: Transformer, *args: Any, **options: Any) -> Iterator[Any]:
        number = next(numbers)
        if number % every == 0:
            raise KeyboardInterrupt
        yield from original(self, *args, **options)
        if number % every == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Transformer, "passes", passes)


def interrupt_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let Ctrl-C come in place of one step, counted from 0."""
    numbers, original = count(), Engine.step

    def step(engine: Engine) -> bool:
        if next(numbers) == number:
            raise KeyboardInterrupt
        return original(engine)

    monkeypatch.setattr(Engine, "step", step)


def step_on(engine: Engine, *, despite: type[BaseException] = KeyboardInterrupt) -> None:
    """Step until nothing is left, whatever interrupts it."""
    goes_on = True
    while goes_on:
        try:
            goes_on = engine.step()
        except despite:
            continue


class Places:
    """Counts the places in some files at which Python would raise for Ctrl-C, and sends it at one of them."""

    CHECKED = ("CALL", "RESUME", "JUMP_BACKWARD")
    """The instructions behind which Python looks for signals, as their names begin."""

    def __init__(self, files: Sequence[str], *, at: int | None = None) -> None:
        self.files, self.at = tuple(files), at
        self.number = 0
        self._before: dict[int, str] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        sys._getframe().f_trace_opcodes = True  # or Python 3.12 does not look at opcodes the first time
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.endswith(self.files):
            return None
        frame.f_trace_opcodes, self._before[id(frame)] = True, ""
        return self._look

    def _look(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode":
            before = self._before[id(frame)]
            self._before[id(frame)] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if before.startswith(self.CHECKED):
                self.number += 1
                if self.number == self.at:
                    signal.raise_signal(signal.SIGINT)
        return self._look
