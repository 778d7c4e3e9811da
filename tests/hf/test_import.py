"""What `import qwen7b.hf` needs and does."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys, types
{setup}
try:
    import qwen7b.hf
except ImportError as error:
    print(type(error).__name__, error)
except Exception as error:
    print(type(error).__name__, error)
"""


def imported_after(setup: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setup=setup)], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_without_transformers_the_extra_is_named() -> None:
    said = imported_after("sys.modules['transformers'] = None")
    assert said == "MissingExtraError transformers is not installed: run pip install 'qwen7b[hf]'"


@pytest.mark.parametrize("version", ["4.32.0", "5.5.4"])
def test_a_transformers_of_before_is_named(version: str) -> None:
    said = imported_after(
        f"old = types.ModuleType('transformers'); old.__version__ = {version!r}; sys.modules['transformers'] = old"
    )
    assert said.startswith("UnsupportedError") and version in said and "pip install" in said
