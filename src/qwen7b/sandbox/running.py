"""Runs a program in the best protection that this machine has."""

from __future__ import annotations

import subprocess
import sys
import warnings
from functools import lru_cache

from qwen7b.errors import SandboxError
from qwen7b.sandbox.limits import ProgramLimits
from qwen7b.sandbox.outcome import ProgramOutcome, Protection
from qwen7b.sandbox.protected import run_protected
from qwen7b.sandbox.unprotected import run_unprotected

OR_UNPROTECTED = ", or allow the code to run unprotected"
"""What else a user may do where nothing protects."""


def run_python(
    code: str,
    *,
    check: str | None = None,
    limits: ProgramLimits | None = None,
    site_packages: bool = False,
    allow_unprotected: bool = False,
) -> ProgramOutcome:
    """Run Python that nobody has read, and say what became of it. Several threads may do so at once.

    Without a check the code runs as a script, and passes where it exits with 0, as it may whenever it likes. A check is
    code that is trusted: it calls the program's functions by their names and raises what it does not like, with
    `assert` say. It runs in a process of its own, so that no program passes without giving the right answers.

        >>> run_python("def double(x): return 2 * x", check="assert double(3) == 6").status  # doctest: +SKIP
        'passed'

    `site_packages` lets the program import what is installed beside qwen7b, not the standard library alone. Raises
    SandboxError, before anything runs, where this machine can protect itself in no way, unless `allow_unprotected`.
    """
    limits = limits or ProgramLimits()
    try:
        protection = find_protection()
    except SandboxError as error:
        if not allow_unprotected:
            raise SandboxError(f"{error}{OR_UNPROTECTED}") from error
        warnings.warn(f"code runs unprotected, with all your rights: {error}", RuntimeWarning, stacklevel=2)
        return run_unprotected(code, check=check, limits=limits, site_packages=site_packages)
    return run_protected(code, check=check, limits=limits, site_packages=site_packages, protection=protection)


@lru_cache(maxsize=1)
def find_protection() -> Protection:
    """The best protection that works here, found by trying. Raises SandboxError, which says what is missing."""
    if sys.platform != "linux":
        raise SandboxError(
            f"code that a model wrote needs a sandbox, which qwen7b has on Linux only, and this is {sys.platform}: run "
            "it on Linux, which may be a virtual machine (WSL 2, Docker)"
        )
    problems = []
    for protection in ("bubblewrap", "landlock"):
        try:
            return _proven(protection)
        except SandboxError as error:
            problems.append(str(error))
    raise SandboxError(
        f"code that a model wrote needs a sandbox, and none works here: {'; '.join(problems)}. Install bubblewrap, use "
        "Linux 5.13 or newer with Landlock switched on"
    )


def _proven(protection: Protection) -> Protection:
    try:
        outcome = run_protected("", check="", limits=ProgramLimits(), site_packages=False, protection=protection)
    except (SandboxError, OSError, subprocess.SubprocessError) as error:
        raise SandboxError(f"{protection}: {error}") from error
    if not outcome.passed:
        raise SandboxError(f"{protection}: an empty program {outcome.status} ({outcome.stderr.strip()[-300:]})")
    return protection
