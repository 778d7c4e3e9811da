"""What a program cannot reach, whatever it tries."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from hostile import ORDINARY_USER, REFUSED, Way, run, run_cells, trying

PROPERLY = r"refused: (\[Errno (EPERM|EACCES|EROFS|ENOENT|ESRCH|EXDEV|-3)\]|not allowed to raise|nothing was there)"
for name in ("EPERM", "EACCES", "EROFS", "ENOENT", "ESRCH", "EXDEV"):
    PROPERLY = PROPERLY.replace(name, str(getattr(errno, name)))


@pytest.fixture
def secret(user: int) -> Iterator[Path]:
    """A file of the user's, outside."""
    with TemporaryDirectory(prefix="sandbox-secret-") as folder:
        path = Path(folder, "key")
        path.write_text("a key that nobody may read")
        for place in (folder, path):
            os.chown(place, user, user)
        yield path


@pytest.fixture
def victim(user: int) -> Iterator[int]:
    """Another process of the user's."""
    other = ORDINARY_USER if user == ORDINARY_USER else None
    with subprocess.Popen(["sleep", "100"], start_new_session=True, user=other, group=other) as process:
        yield process.pid
        assert process.poll() is None
        process.kill()


def run_as_cell(code: str, *, way: Way, folder: Path, **limits: Any) -> str:
    (outcome,) = run_cells([code], way=way, folder=folder, **limits)
    assert outcome.status == "done", outcome
    return outcome.stdout


def run_as_program(code: str, *, way: Way, folder: Path, **limits: Any) -> str:
    outcome = run(code, way=way, folder=folder, **limits)
    assert outcome.passed, outcome
    return outcome.stdout


@pytest.mark.parametrize("run_it", [run_as_program, run_as_cell])
def test_everything_outside_is_refused(
    run_it: Callable[..., str], way: Way, folder: Path, secret: Path, victim: int
) -> None:
    before, limits = secret.stat(), Path(f"/proc/{victim}/limits").read_text()
    path = str(secret.parent / "socket")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        udp.bind(("127.0.0.1", 0))
        named.bind(path)
        os.chmod(path, 0o777)
        abstract.bind("\0qwen7b-test")
        abstract.listen()
        program = trying(
            REFUSED,
            TCP_PORT=tcp.getsockname()[1],
            UDP_PORT=udp.getsockname()[1],
            VICTIM=victim,
            CALLER=os.getpid(),
            SOCKET=path,
            SECRET=str(secret),
        )
        output = run_it(program, way=way, folder=folder, seconds=10)
        for listening in (tcp, abstract):
            listening.setblocking(False)
            with pytest.raises(BlockingIOError):
                listening.accept()
        for receiving in (udp, named):
            receiving.setblocking(False)
            with pytest.raises(BlockingIOError):
                receiving.recv(1)
    results = json.loads(output)
    assert len(results) == len(REFUSED)
    assert {name: result for name, result in results.items() if not re.match(PROPERLY, result)} == {}
    assert secret.read_text() == "a key that nobody may read"
    after = secret.stat()
    assert (after.st_mode, after.st_mtime, after.st_nlink) == (before.st_mode, before.st_mtime, before.st_nlink)
    assert Path(f"/proc/{victim}/limits").read_text() == limits
