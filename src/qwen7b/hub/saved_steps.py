"""A run's folder, wherever a model or an adapter is named, stands for the last step that it saved.

RUN/recipe.toml              what every run has
RUN/steps/step-00000500/     a saved step: a checkpoint's folder, or an adapter's
"""

from __future__ import annotations

import re
from pathlib import Path

from qwen7b.errors import SettingError

RECIPE, STEPS = "recipe.toml", "steps"
_STEP = re.compile(r"step-(\d{8,})")


def saved_steps(run: Path) -> list[Path]:
    """The folders of a run's saved steps, the earliest first."""
    folder = run / STEPS
    if not folder.is_dir():
        return []
    steps = [path for path in folder.iterdir() if _STEP.fullmatch(path.name)]
    return sorted(steps, key=lambda path: int(path.name.removeprefix("step-")))


def last_step(path: Path) -> Path:
    """The last saved step of a run; what is no run is returned as it is. Raises SettingError where none is saved."""
    if not (path / RECIPE).is_file() or not (path / STEPS).is_dir():
        return path
    if not (steps := saved_steps(path)):
        raise SettingError(f"{path} has no saved step yet: train further, or give another run")
    return steps[-1]
