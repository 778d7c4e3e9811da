"""Makes virtual environments for the programs that we compare with."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path


def make_environment(folder: Path, *requirements: str) -> Path:
    """Make an environment with these requirements in a folder, unless that is done, and return its python."""
    python, done = folder / "bin" / "python", folder / "made"
    if not done.exists():
        print(f"Making an environment with {' '.join(requirements)}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        done.touch()
    return python
