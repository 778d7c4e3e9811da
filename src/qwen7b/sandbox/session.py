"""A Python session behind the sandbox's walls: cells in, outcomes out; variables stay from cell to cell."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import weakref
from itertools import count
from pathlib import Path

from qwen7b.config.checked import positive_number
from qwen7b.errors import SandboxError
from qwen7b.sandbox.cells import CHANNEL_LOST
from qwen7b.sandbox.limits import ProgramLimits
from qwen7b.sandbox.outcome import CellOutcome, CellStatus, Protection
from qwen7b.sandbox.private_user import held_users, private_user
from qwen7b.sandbox.running import find_protection
from qwen7b.sandbox.session_files import list_files, read_file, write_file
from qwen7b.sandbox.session_process import CellReport, SessionProcess
from qwen7b.sandbox.starting import plan_start
from qwen7b.sandbox.work_folder import remove

SESSION_LIMITS = ProgramLimits(seconds=30.0, memory_bytes=2 << 30, disk_bytes=256 << 20)
"""More than a benchmark's program needs: numpy and matplotlib alone map half a gibibyte."""
_PROCESSOR_SECONDS = 3600.0
"""What the program may use in all its cells, on each core, should nobody be left to look at the clock."""


class CodeSession:
    """A session in the best protection of this machine, which starts with the first cell and ends with `close`.

        >>> with CodeSession() as session:  # doctest: +SKIP
        ...     session.run("x = 6")
        ...     session.run("x * 7").value
        '42'

    `limits` hold for each cell; memory, files and processes are counted over all that is left of earlier ones. A cell
    that exceeds one is ended with the session's process, and the next cell finds a new one: without variables, with
    the session's files. After `idle_seconds` without a cell the process ends likewise. Figures are written to
    `figures_folder`, or to a folder that goes with the session. Several threads may use a session, one at a time.
    Raises SandboxError where this machine can protect itself in no way. Without `protection` the best that works is
    found by trying.
    """

    def __init__(
        self,
        *,
        limits: ProgramLimits = SESSION_LIMITS,
        idle_seconds: float = 1800.0,
        site_packages: bool = True,
        figures_folder: Path | None = None,
        protection: Protection | None = None,
    ) -> None:
        positive_number("idle_seconds", idle_seconds)
        self.limits = limits
        self.idle_seconds = float(idle_seconds)
        self.site_packages = site_packages
        self.protection = protection or find_protection()
        self._lock = threading.Lock()
        self._cells = count(1)
        self._held = _Held()
        self._release = weakref.finalize(self, self._held.release)  # at the interpreter's end too
        self.figures_folder = figures_folder or Path(self._held.folder, "figures")
        self.figures_folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> CodeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session's processes and remove its folder."""
        self._release()

    def run(self, code: str) -> CellOutcome:
        """Run a cell to its end, or to its limits."""
        with self._lock:
            before = list_files(self._work)
            report, notice = self._report(code, next(self._cells))
            after = list_files(self._work)
            if report.reason == "out_of_disk":
                self._held.empty_work()
            return CellOutcome(
                status=_status(report),
                stdout=report.stdout,
                stderr=report.stderr,
                value=report.value,
                error=report.error,
                figures=tuple(map(self._save, report.figures)),
                files=tuple(sorted(name for name, state in after.items() if before.get(name) != state)),
                notice=notice,
                seconds=report.seconds,
            )

    def files(self) -> list[str]:
        """The names of the files in the session's folder."""
        with self._lock:
            return sorted(list_files(self._work))

    def fetch(self, name: str) -> bytes:
        """Read a file of the session's. Raises SandboxError where there is none of that name."""
        with self._lock:
            return read_file(self._work, name)

    def put(self, name: str, data: bytes) -> None:
        """Give the session a file, in place of one of that name. Raises SandboxError where that cannot be."""
        with self._lock:
            if len(data) > self.limits.disk_bytes:
                raise SandboxError(
                    f"{name} has {len(data):,} bytes, and the session's files may have {self.limits.disk_bytes:,}"
                )
            write_file(self._work, name, data, user=self._held.user)

    @property
    def _work(self) -> str:
        if not self._release.alive:
            raise SandboxError("the session is closed: make a new one")
        return self._held.work

    def _report(self, code: str, number: int) -> tuple[CellReport, str | None]:
        """Run a cell, and say why variables were lost, if they were."""
        notice = None
        try:
            report = self._process().run(code, number)
            if report.reason == "idle":
                self._held.end_process()
                notice = f"nothing was run for {self.idle_seconds:g} seconds: this cell is the first of a new session"
                report = self._process().run(code, number)
        except BaseException:  # Ctrl-C in the cell, say
            self._held.end_process()
            raise
        if report.reason != "answered":
            self._held.end_process()
            notice = self._explain(report)
        return report, notice

    def _process(self) -> SessionProcess:
        if self._held.process is None:
            start = plan_start(
                "session_launcher",
                protection=self.protection,
                limits=self.limits,
                user=self._held.user,
                folder=self._held.work,
                site_packages=self.site_packages,
                processor_seconds=_PROCESSOR_SECONDS,
            )
            self._held.process = SessionProcess(
                start,
                cell_seconds=float(self.limits.seconds),
                idle_seconds=self.idle_seconds,
                output_bytes=self.limits.output_bytes,
            )
        return self._held.process

    def _explain(self, report: CellReport) -> str:
        limits = self.limits
        reasons = {
            "timed_out": f"the cell ran for more than {limits.seconds:g} seconds",
            "out_of_memory": f"the session took more than {limits.memory_bytes:,} bytes of memory",
            "out_of_disk": f"the session's files took more than {limits.disk_bytes:,} bytes, or the disk is full",
            "too_much_output": f"the cell wrote more than {limits.output_bytes:,} bytes of output",
            "broken": "the cell wrote to the session's own pipes",
            "ended": f"the cell ended its process {_ending(report.exit_code)}",
            "lost": "the session's supervisor has ended",
        }
        files = "and without its files" if report.reason == "out_of_disk" else "but with its files"
        return f"{reasons[report.reason]}: the next cell starts a new session, without its variables {files}"

    def _save(self, figure: bytes) -> Path:
        """Write a figure under the next number that is free."""
        for number in count(1):
            path = self.figures_folder / f"fig-{number:03}.png"
            try:
                with open(path, "xb") as file:
                    file.write(figure)
            except FileExistsError:
                continue
            return path
        raise AssertionError


class _Held:
    """What a session holds outside this process, and must give back: processes, a folder, a user's number."""

    def __init__(self) -> None:
        self.process: SessionProcess | None = None
        self.user = private_user() if os.geteuid() == 0 else None
        if self.user is not None:
            held_users.add(self.user)
        self.folder = tempfile.mkdtemp(prefix="qwen7b-")
        os.chmod(self.folder, 0o711)  # the program's user passes it, and sees nothing else of what lies in it
        self.work = os.path.join(self.folder, "work")
        self._make_work()

    def _make_work(self) -> None:
        os.mkdir(self.work, 0o700)
        if self.user is not None:
            os.chown(self.work, self.user, self.user)

    def empty_work(self) -> None:
        remove(self.work)
        self._make_work()

    def end_process(self) -> None:
        if self.process is not None:
            self.process.end()
        self.process = None

    def release(self) -> None:
        self.end_process()
        remove(self.folder)
        if self.user is not None:
            held_users.discard(self.user)


def _status(report: CellReport) -> CellStatus:
    if report.reason == "answered":
        return "done" if report.error is None else "error"
    known: dict[str, CellStatus] = {
        status.replace(" ", "_"): status for status in ("timed out", "out of memory", "out of disk", "too much output")
    }
    return known.get(report.reason, "ended")


def _ending(exit_code: int) -> str:
    if exit_code == CHANNEL_LOST:
        return "by closing the session's own pipes"
    if exit_code < 0:
        return f"by {signal.Signals(-exit_code).name}"
    return f"with exit code {exit_code}"
