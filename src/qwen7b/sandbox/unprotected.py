"""Runs a program with no protection but limits on its time and its output, where the user insists."""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from qwen7b.sandbox.limits import ProgramLimits
from qwen7b.sandbox.outcome import ProgramOutcome, Status


def run_unprotected(code: str, *, check: str | None, limits: ProgramLimits, site_packages: bool) -> ProgramOutcome:
    """Run a program, and its check after it in the same process, where it can forge that it passed if it means to.

    The other limits do not hold, and processes that it started live on.
    """
    # That a check came to its end is told by a line that no program prints by accident.
    end = f"the check ended {secrets.token_hex(8)}\n"
    if check is not None:
        code = f"{code}\n\n{check}\n\nprint({end.strip()!r})\n"
    pipe = subprocess.PIPE
    with tempfile.TemporaryDirectory(prefix="qwen7b-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "program.py")
        path.write_bytes(code.encode("utf-8", "surrogatepass"))
        command = [sys.executable, "-I", *([] if site_packages else ["-S"]), "-X", "utf8", str(path)]
        start = time.monotonic()
        with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
            assert process.stdout and process.stderr
            readers = [
                _Reader(process.stdout, process, limits.output_bytes + len(end)),
                _Reader(process.stderr, process, limits.output_bytes),
            ]
            try:
                exit_code: int | None = process.wait(limits.seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                exit_code = None
            for reader in readers:
                reader.join(1.0)  # longer only where another process that it started still writes
        seconds = time.monotonic() - start
    stdout, stderr = (bytes(reader.content).decode("utf-8", "replace").replace("\r\n", "\n") for reader in readers)
    passed = exit_code == 0 and (check is None or stdout.endswith(end))
    status: Status = "timed out" if exit_code is None else "passed" if passed else "failed"
    if any(reader.is_over for reader in readers):
        status, exit_code = "too much output", None
    return ProgramOutcome(
        status=status,
        exit_code=exit_code,
        stdout=stdout.removesuffix(end),
        stderr=stderr,
        seconds=seconds,
        protection="none",
    )


class _Reader(threading.Thread):
    """Reads a stream to its end, or kills the process that writes more than it may."""

    def __init__(self, stream: IO[bytes], process: subprocess.Popen[bytes], limit: int) -> None:
        super().__init__(daemon=True)
        self.content = bytearray()
        self.is_over = False
        self._stream = stream
        self._process = process
        self._limit = limit
        self.start()

    def run(self) -> None:
        while data := self._stream.read1(1 << 16):  # type: ignore[attr-defined]
            self.content += data
            if len(self.content) > self._limit:
                del self.content[self._limit :]
                self.is_over = True
                self._process.kill()
                return
