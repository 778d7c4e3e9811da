"""What a program gets, what becomes of its output, and when it is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest

from hostile import Sandbox, Way
from qwen7b.errors import SandboxError, SettingError
from qwen7b.sandbox import ProgramLimits, ProgramOutcome, bubblewrap, find_protection, run_python
from qwen7b.sandbox.private_user import private_user
from qwen7b.sandbox.unprotected import run_unprotected
from qwen7b.sandbox.work_folder import work_folder


def test_a_program_runs(any_sandbox: Sandbox, way: Way) -> None:
    outcome = any_sandbox("import sys; print('你好'); print('oh', file=sys.stderr)")
    assert outcome.passed and outcome.exit_code == 0 and outcome.protection == way.protection
    assert (outcome.stdout, outcome.stderr) == ("你好\n", "oh\n") and 0 < outcome.seconds < 5


def test_its_folder_is_its_own(sandbox: Sandbox) -> None:
    code = (
        "import os, shutil, tempfile\nprint(os.listdir())\nos.makedirs('a/b'); open('a/b/c', 'w').write('x' * 1000)\n"
        "os.rename('a/b', 'b'); os.symlink('b', 'l'); os.truncate('b/c', 10); shutil.rmtree('a')\n"
        "with tempfile.NamedTemporaryFile() as file: file.write(b'x')\n"
        "print(sorted(os.listdir()), os.getcwd() == tempfile.gettempdir() == os.path.expanduser('~'))"
    )
    outcome = sandbox(code)
    assert (outcome.stdout, outcome.stderr) == ("[]\n['b', 'l'] True\n", "")


def test_its_environment_says_nothing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    outcome = sandbox("import os; print(*sorted(os.environ)); print(os.getgroups(), hash('x'))")
    names, groups = outcome.stdout.splitlines()
    assert set(names.split()) <= {
        *("HOME", "LANG", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PATH", "PWD", "PYTHONHASHSEED"),
        *("PYTHONIOENCODING", "TMPDIR", "LC_CTYPE"),
    }
    assert groups.startswith("[] ") and sandbox("print(hash('x'))").stdout.strip() == groups.split()[-1]


def test_the_standard_library_is_there(sandbox: Sandbox) -> None:
    code = (
        "import asyncio, collections, ctypes, dataclasses, decimal, hashlib, json, math, random, re, sqlite3, ssl\n"
        "import subprocess, threading, typing\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "async def f(): return 1\nprint(asyncio.run(f()))\n"
        "with ThreadPoolExecutor(2) as pool: print(list(pool.map(abs, [-1])))\n"
        "print(subprocess.run(['echo', 'x'], capture_output=True, text=True).stdout.strip())\n"
        "try: import qwen7b\nexcept ImportError: print('no qwen7b')\n"
        "try: import torch\nexcept ImportError: print('no torch')\n"
        "import sys; print([m for m in sys.modules if 'qwen7b' in m])"
    )
    outcome = sandbox(code)
    assert outcome.stdout.split("\n") == ["1", "[1]", "x", "no qwen7b", "no torch", "[]", ""], outcome.stderr


def test_threads_and_the_end_are_waited_for(sandbox: Sandbox) -> None:
    code = (
        "import atexit, threading, time\natexit.register(print, 'end')\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\nprint('main')"
    )
    assert sandbox(code).stdout == "main\nthread\nend\n"


def test_an_error_is_shown_with_its_lines(sandbox: Sandbox) -> None:
    outcome = sandbox("def f():\n    return 1 / 0\nf()")
    for line in ('  File "<program>", line 3, in <module>', '  File "<program>", line 2, in f', "    return 1 / 0"):
        assert line in outcome.stderr.split("\n")
    assert outcome.stderr.endswith("\nZeroDivisionError: division by zero\n") and "sandbox" not in outcome.stderr


def test_output_of_any_bytes(sandbox: Sandbox) -> None:
    code = "import os; os.write(1, b'\\xff\\0\\xe4'); os.write(2, bytes(range(256)))"
    outcome = sandbox(code)
    assert outcome.stdout == "\ufffd\0\ufffd" and len(outcome.stderr) > 128 and outcome.passed
    assert sandbox("print('\\ud800')").stdout == "\\ud800\n"


def test_a_huge_source(sandbox: Sandbox) -> None:
    outcome = sandbox("x = 1\n" * 200_000 + "print(x)", seconds=60)
    assert outcome.stdout == "1\n", outcome


def test_output_up_to_the_limit_passes(sandbox: Sandbox) -> None:
    outcome = sandbox("print('x' * 99_999)", output_bytes=100_000)
    assert outcome.passed and len(outcome.stdout) == 100_000


def test_runs_in_many_threads(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda n: sandbox(f"print({n})", seconds=60), range(16)))
    assert [outcome.stdout for outcome in outcomes] == [f"{n}\n" for n in range(16)]


@pytest.mark.usefixtures("any_protection")
def test_run_python_finds_the_protection() -> None:
    outcome = run_python("def double(x): return 2 * x", check="assert double(3) == 6")
    assert outcome.passed and outcome.protection == find_protection()
    assert run_python("import torch").status == "failed"


@pytest.mark.usefixtures("any_protection")
def test_installed_packages_where_asked() -> None:
    outcome = run_python(
        "import numpy\ndef f(): return numpy.int64(3), numpy.float32(0.5)",
        check="assert f() == (3, 0.5)",
        site_packages=True,
        limits=ProgramLimits(seconds=60, memory_bytes=4 << 30),
    )
    assert outcome.passed, outcome


@pytest.mark.usefixtures("any_protection")
def test_an_interrupt_ends_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            started.append(self.pid)
            assert self.stdout is not None
            monkeypatch.setattr(self, "stdout", _Interrupting(self.stdout))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_python("import time; time.sleep(100)", limits=ProgramLimits(seconds=100))
    assert time.monotonic() - start < 5 and not Path(f"/proc/{started[0]}").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_programs_die_with_the_caller(number: int, sandbox: Sandbox, folder: Path) -> None:
    """Where it is killed and can tidy up nothing, and at Ctrl-C, which reaches all of a terminal's processes."""
    assert isinstance(sandbox, partial)
    mark = f"9{os.getpid()}.25"
    program = f"import os, subprocess\nos.fork()\nos.execv('/usr/bin/sleep', ['sleep', '{mark}'])"
    script = (
        "from qwen7b.sandbox import ProgramLimits\nfrom qwen7b.sandbox.protected import run_protected\n"
        f"run_protected({program!r}, check=None, limits=ProgramLimits(seconds=60), site_packages=False, "
        f"protection={sandbox.keywords['way'].protection!r})"
    )

    def asleep() -> list[Path]:
        return [process for process in Path("/proc").glob("[0-9]*") if _command(process) == f"sleep {mark} "]

    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL) as caller:
        wait_until(lambda: len(asleep()) == 2)
        os.killpg(caller.pid, number)
    wait_until(lambda: not asleep())
    if number == signal.SIGKILL:  # nobody was left who could do it
        for left in folder.iterdir():
            shutil.rmtree(left)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def _command(process: Path) -> str:
    try:
        return process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


class _Interrupting:
    """Standard output, at which the user presses Ctrl-C while it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.close = stream.close

    def read(self) -> bytes:
        time.sleep(0.3)
        raise KeyboardInterrupt


def test_bubblewrap_hides_nothing_that_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python may lie in /tmp, where the program's own folder is."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    command = bubblewrap.wrapped(
        ["python"], readable=["/tmp/python", "/usr/lib"], environment={}, disk_bytes=1, folder=None
    )
    assert command.index("--tmpfs") < command.index("/tmp/python") < command.index("python")
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SandboxError, match="not installed"):
        bubblewrap.wrapped(["python"], readable=[], environment={}, disk_bytes=1, folder=None)


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_are_refused(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    find_protection.cache_clear()
    with pytest.raises(SandboxError, match=f"on Linux only, and this is {system}"):
        run_python("print(1)")
    monkeypatch.undo()
    find_protection.cache_clear()


def test_nothing_runs_where_nothing_protects(monkeypatch: pytest.MonkeyPatch) -> None:
    import qwen7b.sandbox.running as running

    def broken(*_: object, **__: object) -> ProgramOutcome:
        raise SandboxError("it is broken")

    monkeypatch.setattr(running, "run_protected", broken)
    find_protection.cache_clear()
    with pytest.raises(SandboxError, match=r"bubblewrap: it is broken; landlock: it is broken\. Install"):
        run_python("print(1)")
    with pytest.warns(RuntimeWarning, match="runs unprotected, with all your rights"):
        outcome = run_python("print(1)", allow_unprotected=True)
    assert outcome.passed and outcome.stdout == "1\n" and outcome.protection == "none"
    find_protection.cache_clear()


@pytest.mark.parametrize(
    ("code", "check", "status"),
    [
        ("print('x')", None, "passed"),
        ("1 / 0", None, "failed"),
        ("def f(): return 1", "assert f() == 1", "passed"),
        ("def f(): return 1", "assert f() == 2", "failed"),
        ("import sys; sys.exit(0)", "assert f() == 1", "failed"),
        ("import os; os._exit(0)", "assert f() == 1", "failed"),
        ("while True: pass", None, "timed out"),
        ("while True: print('x' * 1000)", None, "too much output"),
        ("x = '\ud800'", None, "failed"),
        ("x = 1\0", None, "failed"),
    ],
)
def test_unprotected(
    code: str, check: str | None, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    limits = ProgramLimits(seconds=1 if status == "timed out" else 20, output_bytes=10_000)
    outcome = run_unprotected(code, check=check, limits=limits, site_packages=False)
    assert outcome.status == status and outcome.protection == "none", outcome
    assert "the check ended" not in outcome.stdout and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0},
        {"seconds": "1"},
        {"memory_bytes": 1},
        {"disk_bytes": -1},
        {"output_bytes": 1.5},
        {"processes": 0},
    ],
)
def test_limits_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        ProgramLimits(**wrong)  # type: ignore[arg-type]


def test_a_folder_goes_whatever_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    with work_folder() as folder:
        place = os.open(folder, os.O_RDONLY)
        for _ in range(1200):  # deeper than Python recurses, and than a path is long
            os.mkdir("d" * 100, dir_fd=place)
            os.close(os.open("f", os.O_CREAT, dir_fd=place))
            below = os.open("d" * 100, os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = below
        os.close(place)
        os.symlink(outside, os.path.join(folder, "link"))
        os.mkdir(os.path.join(folder, "closed"), 0)
        os.mkfifo(os.path.join(folder, "pipe"))
    assert os.listdir(tmp_path) == ["outside"] and (outside / "kept").exists()


def test_users_are_private_and_exist(tmp_path: Path) -> None:
    whole, part, root = (tmp_path / name for name in ("whole", "part", "root"))
    whole.write_text("         0          0 4294967295\n")
    part.write_text("0 1000 1\n1 100000 65536\n")
    root.write_text("0 1000 1\n")
    users = {private_user((whole, whole)) for _ in range(64)}
    assert len(users) == 64 and all(0x7000_0000 <= user < 0x8000_0000 for user in users)
    assert 61184 <= private_user((part, whole)) < 65520
    for maps in ((root, root), (whole, root)):
        with pytest.raises(SandboxError, match="root in this container can become no other user"):
            private_user(maps)


def test_many_threads_use_many_users() -> None:
    users: list[int] = []
    maps = (Path("/proc/self/uid_map"),) * 2
    if not maps[0].exists():
        pytest.skip("Linux has user namespaces")
    threads = [threading.Thread(target=lambda: users.append(private_user(maps))) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(users)) == 32
