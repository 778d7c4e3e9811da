"""What an artefact is, what is wrong with it and how to mend it; and what an old traceback means.

In comes a path, or the text of a traceback; out goes a Diagnosis, or causes with their remedies. The rules are those
of loading and chatting, called one after the other and told all at once; what is called healthy has gone through all
that a load and a first reply do, but reading weights and computing. Generates no text and fetches nothing.
"""

from __future__ import annotations

from qwen7b.doctor.artefact import diagnose
from qwen7b.doctor.findings import Diagnosis, Finding
from qwen7b.doctor.fix import fix
from qwen7b.doctor.tracebacks import Explanation, explain_traceback

__all__ = ["Diagnosis", "Explanation", "Finding", "diagnose", "explain_traceback", "fix"]
