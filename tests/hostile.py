"""Programs that try what a sandbox must stop, and a way to run programs as an ordinary user where the tests are root's.

python tests/hostile.py runs the program of a request on standard input, as JSON, and prints its outcome, or the cells.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from qwen7b.errors import SandboxError
from qwen7b.sandbox import CellOutcome, CodeSession, ProgramLimits, ProgramOutcome, Protection
from qwen7b.sandbox.protected import run_protected

Sandbox: TypeAlias = Callable[..., ProgramOutcome]
ORDINARY_USER = 20_000 + os.getpid() % 30_000
"""Another one for each process that runs tests."""
SYSTEM_PYTHON = "/usr/bin/python3"

REFUSED = {
    "TCP": "socket.create_connection(('127.0.0.1', TCP_PORT), timeout=2)",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', UDP_PORT))",
    "IPv6": "socket.socket(socket.AF_INET6)",
    "names": "socket.getaddrinfo('example.org', 80)",
    "Unix socket": "socket.socket(socket.AF_UNIX).connect(SOCKET)",
    "abstract Unix socket": "socket.socket(socket.AF_UNIX).connect('\\0qwen7b-test')",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "pair of datagrams": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', SOCKET)",
    "listening": "socket.create_server(('127.0.0.1', 0))",
    "read a user's file": "open(SECRET).read()",
    "read by a link": "os.symlink(SECRET, 'link'); open('link').read()",
    "read by a hard link": "os.link(SECRET, 'hard'); open('hard').read()",
    "list a user's folder": "os.listdir(os.path.dirname(SECRET))",
    "read /etc/shadow": "open('/etc/shadow').read()",
    "read /etc/passwd": "open('/etc/passwd').read()",
    "list /root": "os.listdir('/root')",
    "list /home": "os.listdir('/home')",
    "the first process's environment": "open('/proc/1/environ').read() or fail()",
    "the supervisor's memory": "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "the supervisor's environment": "open(f'/proc/{os.getppid()}/environ').read() or fail()",
    "the supervisor's files": "os.listdir(f'/proc/{os.getppid()}/fd')",
    "the victim's memory": "open('/proc/VICTIM/mem', 'rb').read(1)",
    "write to a user's file": "open(SECRET, 'a').write('x')",
    "cut a user's file": "os.truncate(SECRET, 0)",
    "delete a user's file": "os.unlink(SECRET)",
    "move a user's file": "os.rename(SECRET, 'mine')",
    "open a user's file to others": "os.chmod(SECRET, 0o666)",
    "change a user's file's times": "os.utime(SECRET, (0, 0))",
    "change a user's file's attributes": "os.setxattr(SECRET, 'user.x', b'x')",
    "make a folder": "os.mkdir(os.path.join(os.path.dirname(SECRET), 'new'))",
    "write to /usr": "open('/usr/new', 'w')",
    "write to Python": "open(os.__file__, 'a')",
    "write to /tmp": "open('/tmp/../var/new', 'w')",
    "write to shared memory": "open('/dev/shm/new', 'w')",
    "make a device": "os.mknod('device', stat.S_IFBLK | 0o666, os.makedev(254, 0))",
    "kill the supervisor": "os.kill(os.getppid(), 9)",
    "kill the victim": "os.kill(VICTIM, 9)",
    "kill the victim by a descriptor": "signal.pidfd_send_signal(os.pidfd_open(VICTIM), 9)",
    "kill the victim's group": "os.killpg(VICTIM, 9)",
    "kill the caller": "os.kill(CALLER, 9)",
    "trace the supervisor": "call('ptrace', 16, os.getppid(), 0, 0)",
    "read another's memory": "call('process_vm_readv', os.getppid(), 0, 0, 0, 0, 0)",
    "raise a limit": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "raise the limit on processes": "resource.setrlimit(resource.RLIMIT_NPROC, (10**6, 10**6))",
    "lower another's limit": "resource.prlimit(VICTIM, resource.RLIMIT_NOFILE, (3, 3))",
    "slow another down": "os.setpriority(os.PRIO_PROCESS, VICTIM, 19)",
    "move another": "os.sched_setaffinity(VICTIM, {0})",
    "outlive the supervisor": "call('prctl', 1, 0, 0, 0, 0)",
    "hide": "call('prctl', 4, 0, 0, 0, 0)",
    "a session": "os.setsid()",
    "a process group": "os.setpgid(0, 0)",
    "become root": "try: os.setuid(0)\nexcept OSError: fail()",
    "a user namespace": "call('unshare', 0x10000000)",
    "a namespace by clone": "number('clone', 0x10000000 | 17, 0, 0, 0, 0)",
    "another's namespace": "call('setns', 0, 0)",
    "mount": "call('mount', b'none', b'.', b'tmpfs', 0, 0)",
    "chroot": "os.chroot('.')",
    "a key": "number('keyctl', 0, -3, 0)",
    "BPF": "number('bpf', 0, 0, 0)",
    "io_uring": "number('io_uring_setup', 1, ctypes.create_string_buffer(256))",
    "userfaultfd": "number('userfaultfd', 1)",
    "perf": "number('perf_event_open', 0, 0, -1, -1, 0)",
    "a handle": "number('open_by_handle_at', 0, 0, 0)",
    "memory as a file": "os.memfd_create('x')",
    "shared memory": "number('shmget', 0, 4096, 0o1600)",
    "the whole disk at once": "call('fallocate', os.open('big', os.O_CREAT | os.O_RDWR), 1, 0, ctypes.c_long(1 << 25))",
    "watch files": "number('inotify_add_watch', 0, SECRET.encode(), 1)",
    "a signal by ownership": "fcntl.fcntl(0, 8, VICTIM)",
}
"""Statements that must raise OSError, or ValueError where Python has turned that into one."""

_TRYING = """
import ctypes, errno, fcntl, json, os, resource, signal, socket, stat
numbers = %r
libc = ctypes.CDLL(None, use_errno=True)
def fail():
    raise OSError("nothing was there")
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
def number(name, *arguments):
    parent = os.getpid()
    result = libc.syscall(numbers[name][os.uname().machine == "aarch64"], *arguments)
    if os.getpid() != parent or result == 0 and name == "clone":
        os._exit(0)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
results = {}
for name, statement in %r.items():
    try:
        exec(statement)
        results[name] = "done"
    except (OSError, ValueError) as error:
        results[name] = f"refused: {error}"
    except BaseException as error:
        results[name] = f"{type(error).__name__}: {error}"
print(json.dumps(results))
"""


def trying(statements: dict[str, str], **values: object) -> str:
    """A program that tries each statement, with words in capitals replaced, and prints what became of them."""
    from qwen7b.sandbox.denied_calls import NUMBERS

    code = _TRYING % (NUMBERS, statements)
    # Inside the literal of the statements a text needs quotes that do not end theirs.
    header = "".join(f"{name} = {value!r}\n" for name, value in values.items() if not isinstance(value, int))
    for name, value in values.items():
        if isinstance(value, int):
            code = code.replace(name, str(value))
    return header + code


def programs(text: str) -> dict[str, str]:
    """Programs by name, each of which follows a line of two hashes and its name."""
    parts = text.removeprefix("\n").removeprefix("## ").split("\n## ")
    return {name: code for name, _, code in (part.partition("\n") for part in parts)}


class Way(NamedTuple):
    protection: Protection
    ordinary: bool
    """As an ordinary user, not as the user who runs the tests."""

    def __str__(self) -> str:
        return f"{self.protection}-{'ordinary' if self.ordinary else 'own'}"


def run(code: str, *, way: Way, folder: Path, check: str | None = None, **limits: Any) -> ProgramOutcome:
    """Run a program. `folder` takes the place of /tmp where another user runs it."""
    if not way.ordinary:
        return run_protected(
            code, check=check, limits=ProgramLimits(**limits), site_packages=False, protection=way.protection
        )
    request = {"code": code, "check": check, "protection": way.protection, "limits": limits}
    return ProgramOutcome(**json.loads(as_ordinary_user([SYSTEM_PYTHON, __file__], json.dumps(request), folder=folder)))


def run_all(sandbox: Sandbox, codes: Mapping[str, str], **settings: Any) -> dict[str, ProgramOutcome]:
    """Run programs by name, several at once."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(codes, pool.map(lambda code: sandbox(code, **settings), codes.values()), strict=True))


def run_cells(
    cells: list[str], *, way: Way, folder: Path, idle_seconds: float = 600, **limits: Any
) -> list[CellOutcome]:
    """Run cells one after another in a session, without installed packages."""
    if not way.ordinary:
        settings: dict[str, Any] = {"limits": ProgramLimits(**limits), "idle_seconds": idle_seconds}
        with CodeSession(site_packages=False, protection=way.protection, **settings) as session:
            return [session.run(cell) for cell in cells]
    request = {"cells": cells, "protection": way.protection, "limits": limits}
    text = as_ordinary_user([SYSTEM_PYTHON, __file__], json.dumps(request), folder=folder)
    return [CellOutcome(**outcome) for outcome in json.loads(text)]


def as_ordinary_user(command: list[str], text: str, *, folder: Path) -> str:
    """What a command prints that an ordinary user runs."""
    source = Path(__file__).parents[1] / "src"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command,
        input=text,
        env={**environment, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        user=ORDINARY_USER,
        group=ORDINARY_USER,
        extra_groups=[],
    )
    if done.returncode:
        raise SandboxError(done.stderr.strip().rpartition("\n")[2])
    return done.stdout


def why_not(way: Way, *, folder: Path) -> str | None:
    """Why a way cannot be tried here, or None."""
    if sys.platform != "linux":
        return "the sandbox is Linux's"
    if way.ordinary and (os.geteuid() != 0 or shutil.which(SYSTEM_PYTHON) is None):
        return "only root can try another user, with a Python in /usr"
    try:
        outcome = run("", way=way, folder=folder)
    except SandboxError as error:
        return f"{way}: {error}"
    return None if outcome.passed else f"{way}: {outcome}"


def main() -> None:
    request = json.load(sys.stdin)
    if "cells" in request:
        way = Way(request["protection"], False)
        outcomes = run_cells(request["cells"], way=way, folder=Path(), **request["limits"])
        json.dump([dataclasses.asdict(outcome) for outcome in outcomes], sys.stdout, default=str)
        return
    outcome = run_protected(
        request["code"],
        check=request["check"],
        limits=ProgramLimits(**request["limits"]),
        site_packages=False,
        protection=request["protection"],
    )
    json.dump(dataclasses.asdict(outcome), sys.stdout)


if __name__ == "__main__":
    main()
