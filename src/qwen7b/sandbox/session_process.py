"""The caller's side of a session's supervisor: starts it, hands it cells, reads its reports and ends it."""

from __future__ import annotations

import json
import marshal
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from qwen7b.errors import SandboxError
from qwen7b.sandbox.starting import GRACE_SECONDS, Start
from qwen7b.sandbox.values import LENGTH_BYTES

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class CellReport:
    """What a supervisor says of a cell: the first four, and what the program wrote and answered."""

    reason: str
    """"answered", or why the session's processes were ended."""
    exit_code: int = 0
    """The program's own, where it has ended."""
    seconds: float = 0.0
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    error: str | None = None
    figures: tuple[bytes, ...] = ()


class SessionProcess:
    """A supervisor, with a session's processes below it. Raises SandboxError where it does not start."""

    def __init__(self, start: Start, *, cell_seconds: float, idle_seconds: float, output_bytes: int) -> None:
        self._seconds = cell_seconds
        pipe = subprocess.PIPE
        # In a session of its own Ctrl-C does not reach the supervisor, which would then end without ending the rest.
        self._process = subprocess.Popen(
            start.command,
            env=start.environment,
            cwd="/",
            start_new_session=True,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        task = {"cell_seconds": cell_seconds, "idle_seconds": idle_seconds, "output_bytes": output_bytes}
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._input, self._output, self._problems = self._process.stdin, self._process.stdout, self._process.stderr
        with self._attended():
            self._write({**start.task, **task})
            started = self._output.readline()
            if started != b"started\n":
                problem = self._problems.read().decode("utf-8", "replace").strip()
                raise SandboxError(f"the sandbox does not start a session: {problem[-500:] or 'it says nothing'}")

    def run(self, code: str, number: int) -> CellReport:
        """Run a cell. The reason "idle" says that the processes were ended before it came."""
        with self._attended():
            self._write((code, number))
            head = self._output.readline().split()
            if not head:
                return CellReport(reason="lost", seconds=self._seconds)
            stdout, stderr, answer = (self._output.read(int(length)) for length in head[3:])
        told: dict[str, Any] = {
            "exit_code": int(head[1]),
            "seconds": float(head[2]),
            "stdout": stdout.decode("utf-8", "replace"),
            "stderr": stderr.decode("utf-8", "replace"),
        }
        reason = head[0].decode("ascii")
        if reason == "answered":
            try:
                told |= _read_answer(answer)
            except (ValueError, RecursionError):
                reason = "broken"
        return CellReport(reason=reason, **told)

    def end(self) -> None:
        """End the supervisor, and all below it."""
        # An empty cell says it too: what this process forked may hold its own copy of the pipe open.
        with suppress(OSError, ValueError):
            self._input.write(bytes(LENGTH_BYTES))
            self._input.flush()
        with suppress(OSError):
            self._input.close()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
        self._problems.close()

    @contextmanager
    def _attended(self) -> Iterator[None]:
        """A block after which the supervisor is ended if it was interrupted; one that hangs is killed."""
        timer = threading.Timer(self._seconds + GRACE_SECONDS, self._process.kill)
        timer.start()
        try:
            yield
        except BaseException:
            self.end()
            raise
        finally:
            timer.cancel()

    def _write(self, message: Any) -> None:
        data = marshal.dumps(message)
        with suppress(BrokenPipeError):  # it has ended, and its report says why
            self._input.write(len(data).to_bytes(8) + data)
            self._input.flush()


def _read_answer(answer: bytes) -> dict[str, Any]:
    """The program's answer, of which nothing is believed but its form. Raises ValueError where that is another."""
    content = json.loads(answer)
    if not isinstance(content, dict) or set(content) != {"value", "error", "figures"}:
        raise ValueError("an answer has a value, an error and figures")
    texts = {name: _text(content[name]) for name in ("value", "error")}
    if not isinstance(content["figures"], list):
        raise ValueError("figures are a list")
    return {**texts, "figures": tuple(map(_read_figure, content["figures"]))}


def _text(content: object) -> str | None:
    if content is None:
        return None
    if not isinstance(content, str):
        raise ValueError("it is no text")
    return content.encode("utf-8", "backslashreplace").decode()


def _read_figure(content: object) -> bytes:
    if not isinstance(content, str):
        raise ValueError("a figure is in base64")
    data = b64decode(content, validate=True)
    if not data.startswith(_PNG):
        raise ValueError("a figure is in PNG")
    return data
