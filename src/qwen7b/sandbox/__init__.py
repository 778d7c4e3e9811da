"""Runs Python that a model wrote: code in, outcome out. Knows no model and no benchmark.

The program runs in a process of its own that sees nothing of this one, reaches no network, reads only Python and the
system's programs, writes only to a small folder that is then gone, and ends, with all that it started, at its limits.
`running` is called; what it starts, from `launcher` on, runs on Linux only and imports nothing but the standard
library and its neighbours here. docs/sandbox.md says what is stopped and what is not.
"""

from qwen7b.sandbox.limits import ProgramLimits
from qwen7b.sandbox.outcome import CellOutcome, ProgramOutcome, Protection, Status
from qwen7b.sandbox.running import find_protection, run_python
from qwen7b.sandbox.session import SESSION_LIMITS, CodeSession

__all__ = [
    "SESSION_LIMITS",
    "CellOutcome",
    "CodeSession",
    "ProgramLimits",
    "ProgramOutcome",
    "Protection",
    "Status",
    "find_protection",
    "run_python",
]
