"""What conftest.py sees to before the tests run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_signals_are_tested_where_the_tests_themselves_ignore_them() -> None:
    """As they do in the background of a script, and under nohup."""
    test = Path(__file__).with_name("system") / "test_signals.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test), "-k", "once"]
    ignoring = ["sh", "-c", 'trap "" INT QUIT HUP; exec "$@"', "sh", *command]
    done = subprocess.run(ignoring, cwd=test.parents[2], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
