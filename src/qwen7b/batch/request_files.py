"""Files of requests and of their answers, a line of JSON each, written so that an interrupted run can be resumed."""

from __future__ import annotations

import itertools
import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import Any, BinaryIO, Self

from qwen7b.batch.request_line import is_failure, request_id_of
from qwen7b.errors import PromptError, SettingError
from qwen7b.system.json_file import MAX_BYTES, parse_json
from qwen7b.system.regular_file import open_to_append
from qwen7b.system.signals import interrupts_deferred
from qwen7b.system.whole_file import written_whole

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_BEGINNINGS = (b'{"index": ', b'{"id": "batch_req_')
"""How the lines of answers begin."""
_MAX_ANSWER = 1 << 28
"""The longest line of an answer, in bytes."""


def read_requests(file: BinaryIO) -> Iterator[object]:
    """The parsed value of each line, or the error why it cannot be parsed; blank lines are skipped."""
    file.seek(0)
    for number in itertools.count(1):
        line = file.readline(MAX_BYTES + 1)
        if not line:
            return
        if len(line) > MAX_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_BYTES)
            yield PromptError(f"line {number} has more than {MAX_BYTES:,} bytes: shorten the request")
        elif line := (line.removeprefix(BOM_UTF8) if number == 1 else line).strip():
            yield _parse(line, number)


def _parse(line: bytes, number: int) -> object:
    try:
        return parse_json(line, unique=True)
    except ValueError as error:
        return PromptError(f'line {number} is not JSON: {error}; write an object, or a text as in "Hello"')


class ReplyFile:
    """A file to which answers are added, and from which an interrupted run is resumed.

    A line is written whole. An incomplete last line, from a killed process or a full disk, is cut off, and answers with
    an error are removed, so that their requests are tried again. Raises SettingError where the file cannot be written,
    is being written by another process, or holds anything but answers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._errors():
            self._file = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what could not be written was raised by `add`
            self._file.close()

    def find_answered(self) -> frozenset[str]:
        """The ids of the requests that have an answer; incomplete and failed ones are removed from the file."""
        with self._errors():
            answered, has_others = set(), False
            for _, request_id in self._lines():
                answered.add(request_id)
                has_others = has_others or request_id is None
            if has_others:
                with written_whole(self.path) as partial, partial.open("wb") as copy:
                    copy.writelines(line for line, request_id in self._lines() if request_id is not None)
                self._file.close()
                self._file = self._open()
        return frozenset(request_id for request_id in answered if request_id is not None)

    def add(self, answer: Mapping[str, Any]) -> None:
        data = json.dumps(answer, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with interrupts_deferred(), self._errors():
            self._file.write(data)
            self._file.flush()

    def _open(self) -> BufferedRandom:
        file = open_to_append(self.path)
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed
            except BlockingIOError:
                file.close()
                raise SettingError(
                    f"{self.path} is being written by another process: wait for it, or choose another file"
                ) from None
        return file

    def _lines(self) -> Iterator[tuple[bytes, str | None]]:
        """Every line with the id of the request that it answers, or None where that is to be tried again."""
        self._file.seek(0)
        for number in itertools.count(1):
            if not (line := self._file.readline(_MAX_ANSWER)):
                return
            is_cut = not line.endswith(b"\n")
            if is_cut and any(line.startswith(beginning[: len(line)]) for beginning in _BEGINNINGS):
                yield line, None
                return
            try:
                answer = parse_json(line)
                request_id = request_id_of(answer)
            except ValueError:
                raise SettingError(
                    f"line {number} of {self.path} is no answer to a request: choose another file for the answers"
                ) from None
            yield line, None if is_failure(answer) else request_id

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SettingError(f"answers cannot be kept in {self.path}: {error.strerror or error}") from error
