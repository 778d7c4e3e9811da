"""Starts the launcher, inside bubblewrap or by itself, gives it a task and reads its report."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
import sysconfig
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from qwen7b.errors import SandboxError
from qwen7b.sandbox import bubblewrap
from qwen7b.sandbox.limits import ProgramLimits
from qwen7b.sandbox.outcome import ProgramOutcome, Protection, Status
from qwen7b.sandbox.private_user import private_user
from qwen7b.sandbox.work_folder import work_folder

_GRACE = 15.0
"""Seconds after the time limit in which the launcher must have ended all and reported."""
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/sbin")
_HERE = str(Path(__file__).parent)
# The launcher's modules are found under their own names, while the package's face, which imports more, is not run.
_START = f"""
import sys
for name, folder in ("qwen7b", {str(Path(_HERE).parent)!r}), ("qwen7b.sandbox", {_HERE!r}):
    sys.modules[name] = type(sys)(name)
    sys.modules[name].__path__ = [folder]
sys.path += sys.argv[1:]
del sys.argv[1:]
from qwen7b.sandbox.launcher import main
main()
"""
_STATUSES: dict[str, Status] = {
    status.replace(" ", "_"): status
    for status in ("passed", "failed", "timed out", "out of memory", "out of disk", "too much output")
}


def run_protected(
    code: str, *, check: str | None, limits: ProgramLimits, site_packages: bool, protection: Protection
) -> ProgramOutcome:
    """Run a program, and its check, behind a protection. Raises SandboxError where that does not work."""
    packages = sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")}) if site_packages else []
    readable = [*_SYSTEM, *_python_folders(), *packages]
    # Of an environment's python only the one that it links to finds its library without the environment.
    command = [os.path.realpath(sys.executable), "-S", "-s", "-P", "-c", _START, *packages]
    in_bubblewrap = protection == "bubblewrap"
    with nullcontext(bubblewrap.FOLDER) if in_bubblewrap else work_folder() as folder:
        environment = _environment(folder)
        if in_bubblewrap:
            command = bubblewrap.wrapped(
                command, readable=[*readable, _HERE], environment=environment, disk_bytes=limits.disk_bytes
            )
        task = {
            "has_check": check is not None,
            "output_bytes": limits.output_bytes,
            "folder": folder,
            "readable": tuple(readable),
            "user": private_user() if os.geteuid() == 0 else None,
            "in_bubblewrap": in_bubblewrap,
            "seconds": float(limits.seconds),
            "memory_bytes": limits.memory_bytes,
            "disk_bytes": limits.disk_bytes,
            "processes": limits.processes,
        }
        report, problem = _report(command, environment, [task, code, *([] if check is None else [check])], limits)
    return _outcome(report, problem, limits=limits, protection=protection)


def _python_folders() -> list[str]:
    """Where the interpreter, its library and the libraries that it loads lie."""
    return sorted(
        {
            os.path.realpath(os.path.join(prefix, name))
            for prefix in (sys.base_prefix, sys.base_exec_prefix)
            for name in ("bin", "lib", "lib64")
        }
    )


def _environment(folder: str) -> dict[str, str]:
    """The whole environment of a program; sets come in the same order each time, so that a run can be repeated."""
    return {
        "HOME": folder,
        "TMPDIR": folder,
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


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
        timer = threading.Timer(limits.seconds + _GRACE, process.kill)
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
