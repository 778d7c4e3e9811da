"""Every header of the kernels compiles alone: it includes what it uses, and depends on nothing included before it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
HEADERS = sorted(str(path.relative_to(KERNELS)) for path in KERNELS.rglob("*.h"))
X86 = ("-march=icelake-client", "-mavxvnni")  # an Intel processor with all that any set of x86 asks for
ARM = ("-march=armv8.2-a+dotprod+fp16",)
FLAGS = {"vector/avx2.h": X86, "vector/avx512.h": X86, "vector/neon.h": ARM}


def compiler_of(header: str) -> list[str]:
    """The compiler for the processors that a header is for, with its flags; the test is skipped where there is none."""
    flags = FLAGS.get(header, ())
    is_arm = platform.machine() in ("aarch64", "arm64")
    names: tuple[str, ...] = ("c++", "g++")
    if flags and (flags is ARM) != is_arm:
        names = ("aarch64-linux-gnu-g++",) if flags is ARM else ("x86_64-linux-gnu-g++",)
    compiler = next((path for name in names if (path := shutil.which(name))), None)
    if compiler is None:
        pytest.skip(f"needs a C++ compiler: {' or '.join(names)}")
    return [compiler, *flags]


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_compiles_alone(header: str) -> None:
    flags = ["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", f"-I{KERNELS}"]
    result = subprocess.run(
        [*compiler_of(header), *flags, "-x", "c++", "-"],
        input=f'#include "{header}"\n#include "{header}"\n',  # twice, as many files do
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


def test_the_interface_is_c() -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    flags = ["-std=c99", "-pedantic", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{KERNELS}"]
    result = subprocess.run(
        [compiler, *flags, "-x", "c", "-"], input='#include "qwen7b.h"\n', capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
