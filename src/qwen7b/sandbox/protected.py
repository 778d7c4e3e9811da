"""Starts the launcher, inside bubblewrap or by itself, gives it a task and reads its report."""

from __future__ import annotations

import marshal
import os
import subprocess
import threading
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

from qwen7b.errors import SandboxError
from qwen7b.sandbox.limits import ProgramLimits
from qwen7b.sandbox.outcome import ProgramOutcome, Protection, Status
from qwen7b.sandbox.private_user import private_user
from qwen7b.sandbox.starting import GRACE_SECONDS, plan_start
from qwen7b.sandbox.work_folder import work_folder

_STATUSES: dict[str, Status] = {
    status.replace(" ", "_"): status
    for status in ("passed", "failed", "timed out", "out of memory", "out of disk", "too much output")
}


def run_protected(
    code: str, *, check: str | None, limits: ProgramLimits, site_packages: bool, protection: Protection
) -> ProgramOutcome:
    """Run a program, and its check, behind a protection. Raises SandboxError where that does not work."""
    in_bubblewrap = protection == "bubblewrap"
    with nullcontext(None) if in_bubblewrap else work_folder() as folder:
        start = plan_start(
            "launcher",
            protection=protection,
            limits=limits,
            user=private_user() if os.geteuid() == 0 else None,
            folder=folder,
            site_packages=site_packages,
        )
        task = {**start.task, "has_check": check is not None, "output_bytes": limits.output_bytes}
        parts = [task, code, *([] if check is None else [check])]
        report, problem = _report(start.command, start.environment, parts, limits)
    outcome = _outcome(report, problem, limits=limits, protection=protection)
    # A program whose check has passed is over: whether it ended by itself before it was killed is chance.
    return replace(outcome, exit_code=None) if outcome.passed and check is not None else outcome


def _report(
    command: list[str], environment: dict[str, str], parts: list[Any], limits: ProgramLimits
) -> tuple[bytes, str]:
    """What the launcher writes on standard output, and on standard error."""
    pipe = subprocess.PIPE
    # In a session of its own Ctrl-C does not reach the launcher, which would then end without ending the rest.
    with subprocess.Popen(
        command, env=environment, cwd="/", start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        timer = threading.Timer(limits.seconds + GRACE_SECONDS, process.kill)
        timer.start()
        try:
            with suppress(BrokenPipeError):  # it has failed, and says why
                for part in parts:
                    data = marshal.dumps(part)
                    process.stdin.write(len(data).to_bytes(8) + data)
                process.stdin.flush()
            return process.stdout.read(), process.stderr.read().decode("utf-8", "replace")
        finally:
            # That standard input closes, here at the latest, is what ends the launcher where this is interrupted.
            timer.cancel()
            with suppress(BrokenPipeError):
                process.stdin.close()


def _outcome(report: bytes, problem: str, *, limits: ProgramLimits, protection: Protection) -> ProgramOutcome:
    started, _, report = report.partition(b"\n")
    if started != b"started":
        raise SandboxError(f"the sandbox does not start: {problem.strip()[-500:] or 'it says nothing'}")
    line, _, outputs = report.partition(b"\n")
    if not line:
        message = f"the program ended its supervisor. {problem.strip()}".strip()
        return ProgramOutcome(
            status="failed", exit_code=None, stdout="", stderr=message, seconds=limits.seconds, protection=protection
        )
    status, exit_code, seconds, length = line.decode("ascii").split()
    first, second = (part.decode("utf-8", "replace") for part in (outputs[: int(length)], outputs[int(length) :]))
    if status == "error":
        raise SandboxError(f"the sandbox does not work: {second}")
    killed = status not in ("passed", "failed", "out_of_memory") or exit_code == "-9"
    return ProgramOutcome(
        status=_STATUSES[status],
        exit_code=None if killed else int(exit_code),
        stdout=first,
        stderr=second,
        seconds=float(seconds),
        protection=protection,
    )
