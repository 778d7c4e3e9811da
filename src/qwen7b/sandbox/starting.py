"""The command that starts a supervisor behind a protection, its environment, and what it is told of the walls."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen7b.sandbox import bubblewrap
from qwen7b.sandbox.limits import ProgramLimits
from qwen7b.sandbox.outcome import Protection

GRACE_SECONDS = 15.0
"""How long after a time limit a supervisor must have ended all and reported."""
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/sbin")
_FONTS = "/etc/fonts"
"""Without which matplotlib's search for fonts complains."""
_HERE = str(Path(__file__).parent)
# The supervisor's modules are found under their own names, while the package's face, which imports more, is not run.
_START = f"""
import sys
for name, folder in ("qwen7b", {str(Path(_HERE).parent)!r}), ("qwen7b.sandbox", {_HERE!r}):
    sys.modules[name] = type(sys)(name)
    sys.modules[name].__path__ = [folder]
sys.path += sys.argv[1:]
del sys.argv[1:]
from qwen7b.sandbox.%s import main
main()
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """How to start a supervisor."""

    command: list[str]
    environment: dict[str, str]
    task: dict[str, Any]
    """What it makes a `Confinement` of."""


def plan_start(
    supervisor: str,
    *,
    protection: Protection,
    limits: ProgramLimits,
    user: int | None,
    folder: str | None,
    site_packages: bool,
    processor_seconds: float | None = None,
) -> Start:
    """The start of a supervisor, which is the module of that name.

    `folder` is where programs may write; without one, in bubblewrap, it is in memory and is gone with the supervisor.
    """
    packages = sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")}) if site_packages else []
    readable = [*_SYSTEM, *_python_folders(), *packages, *([_FONTS] if site_packages else [])]
    # Of an environment's python only the one that it links to finds its library without the environment.
    command = [os.path.realpath(sys.executable), "-S", "-s", "-P", "-c", _START % supervisor, *packages]
    in_bubblewrap = protection == "bubblewrap"
    inside = bubblewrap.FOLDER if in_bubblewrap or folder is None else folder
    environment = _environment(inside)
    if in_bubblewrap:
        command = bubblewrap.wrapped(
            command,
            readable=[*readable, _HERE],
            environment=environment,
            disk_bytes=limits.disk_bytes,
            folder=folder,
        )
    task = {
        "folder": inside,
        "readable": tuple(readable),
        "user": user,
        "in_bubblewrap": in_bubblewrap,
        "seconds": float(limits.seconds if processor_seconds is None else processor_seconds),
        "memory_bytes": limits.memory_bytes,
        "disk_bytes": limits.disk_bytes,
        "processes": limits.processes,
    }
    return Start(command=command, environment=environment, task=task)


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
