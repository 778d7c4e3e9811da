"""What an artefact is, what is wrong with it and how to repair it; and what an old traceback means.

In comes a path, or the text of a traceback; out goes a Diagnosis, or causes with their remedies. The checks are those
of loading and chatting, run one after the other and reported together: a healthy model has passed everything that a
load and a first reply do, except reading all weights and computing; weights with a checksum are read, too. The room
generates no text and fetches nothing.
"""

from __future__ import annotations

from qwen7b.doctor.artefact import diagnose
from qwen7b.doctor.findings import Diagnosis, Finding
from qwen7b.doctor.fix import fix
from qwen7b.doctor.tracebacks import Explanation, explain_traceback

__all__ = ["Diagnosis", "Explanation", "Finding", "diagnose", "explain_traceback", "fix"]
