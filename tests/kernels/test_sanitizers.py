"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, which end a process at its first misstep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNTIMES = ("libasan.so", "libubsan.so")


@pytest.fixture(scope="module")
def build(kept_folder: Callable[[str], Path]) -> Path:
    """A folder with the library and the self-test; what did not change since the last run is not compiled again."""
    # The locked packages bring CMake, beside the Python that they are for.
    cmake = shutil.which("cmake", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
    if sys.platform != "linux" or cmake is None or shutil.which("g++") is None:
        pytest.skip("needs Linux, CMake and g++")
    if missing := [name for name in RUNTIMES if not runtime(name).is_absolute()]:
        pytest.skip(f"needs a compiler with sanitizers: {missing[0]} is missing")
    folder = kept_folder("sanitized_kernels")
    for command in (
        [cmake, "-S", str(ROOT / "kernels"), "-B", str(folder), "-DCMAKE_CXX_COMPILER=g++", "-DQWEN7B_SANITIZED=ON"],
        [cmake, "--build", str(folder), "--parallel"],
    ):
        result = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def runtime(name: str) -> Path:
    """Where the compiler keeps a library; not absolute where it has it not."""
    command = ["g++", f"-print-file-name={name}"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def run_python(build: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the sanitized library; what other libraries leave allocated at the end is not ours to report."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "LD_PRELOAD": ":".join(str(runtime(name)) for name in RUNTIMES),
            "ASAN_OPTIONS": "detect_leaks=0",
            "QWEN7B_KERNELS": str(build / "qwen7b_kernels.so"),
        },
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_self_test(build: Path) -> None:
    result = subprocess.run([build / "self_test"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-5000:]
    assert "scalar layers" in result.stdout
    assert "row_major layers" in result.stdout  # a set with products, a layout and a hook per thread of its own


def test_packed_models(build: Path) -> None:
    """All that is asked of products and layers elsewhere, but for what asks torch or measures speed."""
    tests = ("tests/kernels/test_linear.py", "tests/packed/test_runner.py")
    result = run_python(
        build, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not limits and not operator", *tests
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-5000:]
    assert "needs the native library" not in result.stdout  # nothing was skipped for want of it


def test_a_misstep_is_found(build: Path) -> None:
    program = """
import torch, sys, ctypes
sys.path.insert(0, "tests")
from random_packed import random_matrix
from qwen7b.kernels.native import library
from qwen7b.kernels.structures import CMatrix
matrix, x, short = random_matrix(64, 128, bits=8), torch.randn(1, 128), torch.empty(60)
library().qwen7b_linear(ctypes.byref(CMatrix.of(matrix)), x.data_ptr(), 1, short.data_ptr())
"""
    result = run_python(build, "-c", program)
    assert result.returncode != 0
    assert "ERROR: AddressSanitizer" in result.stderr, result.stderr[-3000:]
