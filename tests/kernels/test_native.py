"""The library in a process of its own: missing, damaged, after a fork, and on other processors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qwen7b import kernels
from qwen7b.kernels import native
from qwen7b.kernels.structures import CContract

KERNELS = Path(__file__).parents[2] / "kernels"
PRODUCT = """
import sys, warnings, torch
sys.path.insert(0, {tests!r})
from random_packed import random_matrix
from qwen7b import kernels
torch.manual_seed(0)
matrix, x = random_matrix(32, 128, bits=4), torch.randn(3, 128)
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRODUCT.format(tests=str(Path(__file__).parents[1])) + program],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("content", [None, b"no library"])
def test_without_the_library_the_reference_runs_with_one_warning(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "kernels.so"
    if content is not None:
        path.write_bytes(content)
    program = """
bias = torch.randn(32)
for _ in range(2):
    print(torch.equal(kernels.linear(x, matrix, bias), kernels.linear_reference(x, matrix) + bias))
"""
    result = run(program, QWEN7B_KERNELS=str(path))
    assert result.stdout.split() == ["True", "True"]
    assert result.stderr.count("without its native kernels") == 1
    assert str(path) in result.stderr and "correct QWEN7B_KERNELS" in result.stderr and "compiler" not in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs another library, of a known name")
def test_a_library_of_another_version_is_not_called() -> None:
    result = run("print(kernels.instruction_set())", QWEN7B_KERNELS="libm.so.6")
    assert result.stdout == "None\n"
    assert "of another version" in result.stderr


@pytest.mark.skipif(kernels.instruction_set() is None, reason="needs the native library")
@pytest.mark.parametrize("name", [field[0] for field in CContract._fields_])
def test_a_library_that_differs_in_one_number_is_not_called(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    find_library = native.library.__wrapped__  # type: ignore[attr-defined]  # the one without a memory
    assert find_library() is not None
    other = CContract.ours()
    setattr(other, name, getattr(other, name) + 1)
    monkeypatch.setattr(CContract, "ours", lambda: other)
    with pytest.warns(UserWarning, match="of another version"):
        assert find_library() is None


def test_the_library_can_be_left_out() -> None:
    result = run(
        "print(kernels.available_instruction_sets(), kernels.instruction_set(), kernels.repack(matrix), "
        "kernels.num_threads(), kernels.measure_limits())",
        QWEN7B_KERNELS="none",
    )
    assert (result.stdout, result.stderr) == ("() None None None None\n", "")


@pytest.mark.skipif(kernels.instruction_set() is None, reason="needs the native library")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    program = """
import os
kernels.set_num_threads(3)
before = kernels.linear(x, matrix)
warnings.simplefilter("ignore")
if (child := os.fork()) == 0:
    os._exit(0 if torch.equal(kernels.linear(x, matrix), before) else 1)
print(os.waitpid(child, 0)[1], torch.equal(kernels.linear(x, matrix), before))
"""
    assert run(program).stdout == "0 True\n"


@pytest.mark.skipif(kernels.instruction_set() is None, reason="needs the native library")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_during_a_call() -> None:
    program = """
import os, signal, threading
warnings.simplefilter("ignore")
expected, forked = kernels.linear(x, matrix), threading.Event()
def work():
    while not forked.is_set():
        kernels.linear(x, matrix)
worker = threading.Thread(target=work)
worker.start()
children = []
for _ in range(50):
    if (child := os.fork()) == 0:
        signal.alarm(20)
        os._exit(0 if torch.equal(kernels.linear(x, matrix), expected) else 1)
    children.append(os.waitpid(child, 0)[1])
forked.set()
worker.join()
print(sum(children))
"""
    assert run(program).stdout == "0\n"


@pytest.mark.skipif(kernels.instruction_set() is None, reason="needs the native library")
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory that holds")
def test_short_of_memory_a_call_fails_and_the_process_goes_on() -> None:
    program = """
import resource
from qwen7b.errors import ResourceError
kernels.set_num_threads(1)
expected, many = kernels.linear(x, matrix), torch.randn(1_000_000, 128)
def leave(num_bytes):
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + num_bytes, -1))
leave(144_000_000)  # the result takes 128 MB
try:
    kernels.linear(many, matrix)
except ResourceError as error:
    print("memory" in str(error))
leave(50_000_000)
kernels.set_num_threads(200)  # for whose stacks there is no room
print(torch.equal(kernels.linear(x, matrix), expected))
"""
    result = run(program)
    assert (result.stdout, result.returncode) == ("True\nTrue\n", 0), result.stderr


def test_neon_in_an_emulator(tmp_path: Path) -> None:
    compiler, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip("needs aarch64-linux-gnu-g++ and qemu-aarch64 (Debian: g++-aarch64-linux-gnu, qemu-user)")
    flags = ["-std=c++17", "-O1", "-DQWEN7B_SETS=SET(neon) SET(scalar)"]
    names = ("self_test", "library", "pool", "set_neon", "set_scalar")
    for name in names:
        own = ["-march=armv8.2-a+dotprod+fp16"] if name == "set_neon" else []
        source, target = str(KERNELS / f"{name}.cpp"), str(tmp_path / f"{name}.o")
        subprocess.run([compiler, *flags, *own, "-c", source, "-o", target], check=True, timeout=300)
    program = tmp_path / "self_test"
    objects = [str(tmp_path / f"{name}.o") for name in names]
    subprocess.run([compiler, "-static", *objects, "-o", str(program), "-lpthread"], check=True, timeout=300)
    for processor, has_products in (("max", True), ("cortex-a72", False)):  # the latter is of 2016
        result = subprocess.run(
            [emulator, "-cpu", processor, str(program)], capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 0, result.stdout
        assert ("neon layers" in result.stdout) is has_products and "scalar layers" in result.stdout
