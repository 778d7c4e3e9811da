"""Virtual environments of their own for the programs we compare with."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path


def make_environment(folder: Path, *requirements: str) -> Path:
    """The python of the environment in a folder, made or completed with these requirements unless that is done."""
    python, done = folder / "bin" / "python", folder / "made"
    if not done.exists():
        print(f"Making an environment with {' '.join(requirements)}", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        done.touch()
    return python
