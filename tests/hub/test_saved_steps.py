"""A run's folder stands for its last saved step."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen7b.errors import SettingError
from qwen7b.hub.locate import locate
from qwen7b.hub.saved_steps import last_step, saved_steps


def test_a_run_stands_for_its_last_saved_step(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert saved_steps(run) == []
    (run / "steps").mkdir(parents=True)
    assert last_step(run) == locate(run) == run  # without a recipe it is no run
    (run / "recipe.toml").touch()
    with pytest.raises(SettingError, match="has no saved step yet: train further, or give another run"):
        locate(run)
    for name in ("step-00000900", "step-100000000", "step-00001000.partial", "other"):
        (run / "steps" / name).mkdir()
    assert [path.name for path in saved_steps(run)] == ["step-00000900", "step-100000000"]
    assert last_step(run) == locate(str(run)) == run / "steps" / "step-100000000"
    assert last_step(run / "steps") == run / "steps"
