"""The tests themselves, on other machines than their authors'."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_without_a_compiler_all_tests_are_found(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "QWEN7B_KERNELS": str(tmp_path / "missing.so")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert "needs the native library" in result.stdout  # which is what a skipped file says
