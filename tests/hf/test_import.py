"""What `import qwen7b.hf` needs and does."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qwen7b.installation import install_command

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
    assert said == f"MissingExtraError transformers is not installed: run {install_command('hf')}"


@pytest.mark.parametrize("version", ["4.32.0", "5.5.4"])
def test_a_transformers_of_before_is_named(version: str) -> None:
    said = imported_after(
        f"old = types.ModuleType('transformers'); old.__version__ = {version!r}; sys.modules['transformers'] = old"
    )
    assert said.startswith("UnsupportedError") and version in said and "pip install" in said


def with_version(version: str, *, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """What comes of the import where Transformers says that it is `version`."""
    program = f"import transformers; transformers.__version__ = {version!r}; import qwen7b.hf"
    return subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True)


def test_a_transformers_newer_than_was_tested_is_told_and_runs() -> None:
    pytest.importorskip("transformers", reason="needs the extra hf")
    from qwen7b.hf.release import NEWEST

    tested = with_version(f"{NEWEST[0]}.{NEWEST[1]}.7", options=("-W", "error"))
    assert tested.returncode == 0, tested.stderr
    newer = with_version(f"{NEWEST[0]}.{NEWEST[1] + 1}.0")
    assert newer.returncode == 0, newer.stderr
    assert "was tested with transformers" in newer.stderr and "pip install" in newer.stderr


def test_the_tested_releases_are_those_that_an_install_takes() -> None:
    pytest.importorskip("transformers", reason="needs the extra hf")
    from qwen7b.hf.release import NEWEST, OLDEST

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [wanted] = [line for line in project["optional-dependencies"]["hf"] if line.startswith("transformers")]
    expected = f"transformers>={OLDEST[0]}.{OLDEST[1]},<{NEWEST[0]}.{NEWEST[1] + 1}"
    assert re.sub(r"\s", "", wanted) == expected
