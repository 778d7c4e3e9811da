"""Files of requests and of their answers, a line of JSON each, written so that an interrupted run can be resumed."""

from __future__ import annotations

import itertools
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from qwen7b.batch.request_line import is_failure, request_id_of
from qwen7b.errors import PromptError, SettingError
from qwen7b.system.appended_lines import AppendedLines
from qwen7b.system.json_file import MAX_BYTES, parse_json

_BEGINNINGS = (b'{"index": ', b'{"id": "batch_req_')
"""How the lines of answers begin."""


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


class ReplyFile(AppendedLines):
    """A file to which answers are added, and from which an interrupted run is resumed.

    An incomplete last line, from a killed process or a full disk, is cut off, and answers with an error are removed, so
    that their requests are tried again. Raises SettingError also where the file holds anything but answers.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, noun="answers")

    def find_answered(self) -> frozenset[str]:
        """The ids of the requests that have an answer; incomplete and failed ones are removed from the file."""
        ids = [request_id for _, request_id in self._answers()]
        if None in ids:
            self.replace(line for line, request_id in self._answers() if request_id is not None)
        return frozenset(request_id for request_id in ids if request_id is not None)

    def _answers(self) -> Iterator[tuple[bytes, str | None]]:
        """Every line with the id of the request that it answers, or None where that is to be tried again."""
        for number, line in self.lines():
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
