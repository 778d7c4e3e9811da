"""What an artefact is, what is wrong with it and how to mend it; and what an old traceback means.

In comes a path, or the text of a traceback; out goes a Diagnosis, or causes with their remedies. The rules are those
of loading, told all at once instead of raised one by one. Generates no text and fetches nothing.
"""

from __future__ import annotations

from qwen7b.weights.diagnosis.artefact import diagnose
from qwen7b.weights.diagnosis.findings import Diagnosis, Finding
from qwen7b.weights.diagnosis.fix import fix
from qwen7b.weights.diagnosis.tracebacks import Explanation, explain_traceback

__all__ = ["Diagnosis", "Explanation", "Finding", "diagnose", "explain_traceback", "fix"]
