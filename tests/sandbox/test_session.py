"""A session keeps variables from cell to cell and shows what IPython shows; files and figures go in and out."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen7b.errors import SandboxError, SettingError
from qwen7b.sandbox import CodeSession, ProgramLimits, find_protection
from qwen7b.sandbox.figures import Figures

PNG = b"\x89PNG\r\n\x1a\n"
PLOTTING = importlib.util.find_spec("matplotlib") is not None


@pytest.fixture(scope="module")
def session() -> Iterator[CodeSession]:
    """One session for many tests, none of which may count on another's variables."""
    try:
        find_protection()
    except SandboxError as error:
        pytest.skip(str(error))
    with CodeSession(limits=ProgramLimits(seconds=60, memory_bytes=4 << 30, disk_bytes=64 << 20)) as session:
        yield session


def test_variables_stay(session: CodeSession) -> None:
    assert session.run("x = 6\ndef f(): return x").value is None
    outcome = session.run("print(x); f() * 7")
    assert (outcome.status, outcome.stdout, outcome.value, outcome.notice) == ("done", "6\n", "42", None)
    assert session.run("_ + 1").value == "43" and 0 < outcome.seconds < 5


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("None", None),
        ("1\n2", "2"),
        ("'x'", "'x'"),
        ("3;", None),
        ("y = 3", None),
        ("for i in range(3): i", None),
        ("'你好'", "'你好'"),
        ("type('C', (), {'__repr__': lambda self: chr(0xD800)})()", "\\ud800"),
        ("import asyncio\nawait asyncio.sleep(0)\n5", "5"),
        ("await asyncio.sleep(0, 6)", "6"),
        ("%matplotlib inline\n7", "7"),
        ("__name__", "'__main__'"),
        ("import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\nP(1)", "P(x=1)"),
    ],
)
def test_the_last_expression_is_shown(code: str, value: str | None, session: CodeSession) -> None:
    outcome = session.run(code)
    assert (outcome.status, outcome.value) == ("done", value), outcome


def test_an_error_is_a_traceback_of_cells(session: CodeSession) -> None:
    number = int(
        str(session.run("def f():\n    return 1 / 0\nimport sys\nsys._getframe().f_code.co_filename").value)[7:-2]
    )
    outcome = session.run("print(1)\nf()")
    assert outcome.status == "error" and outcome.stdout == "1\n" and outcome.error is not None
    assert outcome.error.startswith(f'Traceback (most recent call last):\n  File "<cell {number + 1}>", line 2, in')
    assert f'File "<cell {number}>", line 2, in f\n    return 1 / 0' in outcome.error
    assert outcome.error.endswith("ZeroDivisionError: division by zero") and "sandbox" not in outcome.error


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("exit()", "SystemExit"),
        ("input()", "EOFError: EOF when reading a line"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("!ls", "This is Python: it knows no commands with ! and no magics with %."),
        ("def", "SyntaxError: invalid syntax"),
        ("x = 1\0", "SyntaxError: source code string cannot contain null bytes"),
        ("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", "E: <exception str() failed>"),
        ("type('C', (), {'__repr__': lambda self: 1 / 0})()", "ZeroDivisionError: division by zero"),
        ("x = bytearray(1 << 40)", "MemoryError"),
        ("import qwen7b", "ModuleNotFoundError: No module named 'qwen7b'"),
    ],
)
def test_an_error_leaves_the_session_as_it_is(code: str, last: str, session: CodeSession) -> None:
    session.run("kept = 5")
    outcome = session.run(code)
    assert outcome.status == "error" and outcome.notice is None and outcome.value is None
    error = str(outcome.error)
    assert last in error.splitlines()[-1] and "sandbox/" not in error
    assert session.run("kept").value == "5"


def test_streams_are_the_session_s_again_in_the_next_cell(session: CodeSession) -> None:
    for code in (
        "import os; os.close(1); os.close(2)",
        "import sys; sys.stdout.close(); sys.stderr.close()",
        "import io; sys.stdout = sys.stderr = io.StringIO()",
        "sys.stdout = None",
        "os.dup2(os.open('taken', os.O_CREAT | os.O_WRONLY), 1);",
    ):
        assert session.run(code).status in ("done", "error")
        outcome = session.run("import sys; print(1); print(2, file=sys.stderr); os.write(1, b'3');")
        assert (outcome.stdout, outcome.stderr) == ("1\n3", "2\n") or outcome.stdout == "31\n", (code, outcome)


def test_a_long_value_is_cut(session: CodeSession) -> None:
    outcome = session.run("'x' * 300_000")
    assert str(outcome.value).endswith("x ... and 100,002 characters more")


def test_files_go_in_and_out(session: CodeSession) -> None:
    session.put("in/data.csv", b"1,2")
    assert "in/data.csv" in session.files()
    outcome = session.run(
        "import os\nassert open('in/data.csv').read() == '1,2'\nopen('out.txt', 'w').write('x')\n"
        "open('in/data.csv', 'a').write(',3')\nos.makedirs('.hidden', exist_ok=True); open('.hidden/x', 'w')\n"
        "os.symlink('/etc/passwd', 'link'); os.symlink('/etc', 'links'); os.mkfifo('pipe')"
    )
    assert outcome.files == ("in/data.csv", "out.txt"), outcome
    assert session.run("open('out.txt').read()").files == ()
    assert session.fetch("in/data.csv") == b"1,2,3" and session.fetch("out.txt") == b"x"
    for name in ("link", "links/passwd", "pipe", "in", "none", "../x", "/etc/passwd", "", "in/../../x", "out.txt/x"):
        with pytest.raises(SandboxError):
            session.fetch(name)
    with pytest.raises(SandboxError):
        session.put("links/x", b"")
    session.put("link", b"mine")  # in place of the link
    assert session.fetch("link") == b"mine" and Path("/etc/passwd").read_bytes() != b"mine"
    with pytest.raises(SandboxError, match="may have 67,108,864"):
        session.put("large", bytes((64 << 20) + 1))


@pytest.mark.skipif(not PLOTTING, reason="needs matplotlib")
def test_figures_become_files(session: CodeSession) -> None:
    outcome = session.run(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()\nplt.plot([3, 4])\nplt.title('two');"
    )
    assert outcome.status == "done" and outcome.stderr == "", outcome
    assert [figure.name for figure in outcome.figures] == ["fig-001.png", "fig-002.png"]
    assert all(figure.read_bytes().startswith(PNG) for figure in outcome.figures)
    assert session.run("plt.get_fignums()").value == "[]" and outcome.files == ()
    after = session.run("plt.figure()\n1 / 0")
    assert after.status == "error" and [figure.name for figure in after.figures] == ["fig-003.png"]
    too_large = session.run("plt.figure(figsize=(10000, 10000)); plt.plot([1]);")
    assert too_large.status == "error" and too_large.figures == () and session.run("plt.get_fignums()").value == "[]"


def test_values_that_draw_themselves_are_figures(session: CodeSession) -> None:
    code = f"class Picture:\n    def _repr_png_(self): return {PNG!r}\n    def __repr__(self): return 'picture'\n"
    outcome = session.run(code + "display(Picture(), 3)\nPicture()")
    assert len(outcome.figures) == 2 and outcome.stdout == "3\n" and outcome.value == "picture", outcome


@pytest.mark.skipif(not PLOTTING, reason="needs matplotlib")
def test_chinese_is_drawn_where_a_font_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib
    from matplotlib import font_manager

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setenv("MPLBACKEND", "agg")
    font = font_manager.FontEntry(fname="simhei.ttf", name="SimHei")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist, font])
    with matplotlib.rc_context():
        Figures().exec_module(type(sys)("backend"))
        families = matplotlib.rcParams["font.family"]
    assert families[0] == "sans-serif" and len(families) == 2


def test_installed_packages_can_be_left_out(session: CodeSession) -> None:
    with CodeSession(site_packages=False, protection=session.protection) as bare:
        assert "No module named 'typer'" in str(bare.run("import typer").error)
    assert session.run("import typer").status == "done"


def test_a_session_that_idles_ends_and_starts_anew(session: CodeSession) -> None:
    with CodeSession(idle_seconds=0.2, site_packages=False, protection=session.protection) as idle:
        idle.run("x = 1\nopen('file', 'w').write('kept')")
        assert idle._held.process is not None
        assert idle._held.process._process.wait(10) == 0
        outcome = idle.run("open('file').read(), 'x' in globals()")
        assert outcome.value == "('kept', False)"
        assert outcome.notice == "nothing was run for 0.2 seconds: this cell is the first of a new session"


def test_nothing_runs_between_cells(session: CodeSession) -> None:
    started = session.run(
        "import threading, time\nticks = []\ndef tick():\n    while True: ticks.append(time.sleep(0.01))\n"
        "threading.Thread(target=tick, daemon=True).start(); time.sleep(0.1)\nlen(ticks)"
    )
    time.sleep(1)
    assert int(str(session.run("len(ticks)").value)) - int(str(started.value)) < 20


@pytest.mark.skipif(sys.platform == "win32", reason="there is no alarm")
def test_an_interrupt_ends_the_cell_and_not_the_session(session: CodeSession) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with CodeSession(site_packages=False, protection=session.protection) as interrupted:
            interrupted.put("file", b"x")
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            start = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                interrupted.run("while True: pass")
            assert time.monotonic() - start < 5
            assert interrupted.run("open('file').read()").value == "'x'"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_fork_of_the_caller_keeps_no_session_alive(session: CodeSession) -> None:
    """It has copies of the pipes."""
    closed = CodeSession(site_packages=False, protection=session.protection)
    closed.run("1")
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        start = time.monotonic()
        closed.close()
        assert time.monotonic() - start < 5
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_threads_share_a_session(session: CodeSession) -> None:
    """One after another, also where the thread that started it has ended."""
    with CodeSession(site_packages=False, protection=session.protection) as shared:
        for _ in range(2):
            threads = [threading.Thread(target=shared.run, args=["n = globals().get('n', 0) + 1"]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert shared.run("n").value == "8"


def test_sessions_know_nothing_of_each_other(session: CodeSession) -> None:
    with CodeSession(site_packages=False, protection=session.protection) as other:
        other.run("secret = 1\nopen('secret', 'w').write('x')")
        place = other._held.work
        outcome = session.run(f"import os\ntry: os.listdir({place!r})\nexcept OSError as error: print('refused')")
        assert outcome.stdout == "refused\n" or session.protection == "bubblewrap"
        assert session.run("secret").status == "error"


def test_a_closed_session_says_so(session: CodeSession) -> None:
    closed = CodeSession(site_packages=False, protection=session.protection)
    folder = Path(closed._held.folder)
    closed.run("1")
    closed.close()
    closed.close()
    assert not folder.exists()
    for use in (lambda: closed.run("1"), closed.files, lambda: closed.fetch("x"), lambda: closed.put("x", b"")):
        with pytest.raises(SandboxError, match="closed: make a new one"):
            use()


def test_settings_are_checked() -> None:
    with pytest.raises(SettingError, match="idle_seconds"):
        CodeSession(idle_seconds=0)


@pytest.mark.parametrize("ending", ["", "os.kill(os.getpid(), 9)", "session.run('x = 1; ' * 9 + 'while True: pass')"])
def test_no_process_and_no_folder_is_left(ending: str, session: CodeSession, tmp_path: Path) -> None:
    """When the interpreter ends without closing it, is killed, or is interrupted in a cell."""
    script = (
        "import os\nfrom qwen7b.sandbox import CodeSession\n"
        f"session = CodeSession(site_packages=False, protection={session.protection!r})\n"
        "print(session.run('import os, time\\nif not os.fork(): time.sleep(100)').status, flush=True)\n" + ending
    )
    mark = {"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=mark, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    ) as caller:
        assert caller.stdout is not None and caller.stdout.readline() == "done\n"
        if "run" in ending:
            time.sleep(0.3)
            caller.send_signal(signal.SIGINT)
        caller.wait(20)
    end = time.monotonic() + 10
    while left := [path for path in Path("/proc").glob("[0-9]*") if str(tmp_path).encode() in traces(path)]:
        assert time.monotonic() < end, left
        time.sleep(0.02)
    assert [*tmp_path.iterdir()] == [] or "os.kill" in ending  # killed, nobody was left who could do it


def traces(process: Path) -> bytes:
    """What a process was started with."""
    try:
        return process.joinpath("environ").read_bytes() + process.joinpath("cmdline").read_bytes()
    except OSError:
        return b""


def test_the_folder_goes_where_a_session_cannot_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match="not installed"), CodeSession(protection="bubblewrap") as broken:
        broken.run("1")
    assert [*tmp_path.iterdir()] == []
