"""The command that runs another inside bubblewrap: namespaces of its own, and of the files only what it is given.

https://github.com/containers/bubblewrap
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping

from qwen7b.errors import SandboxError

FOLDER = "/tmp"
"""Where a program may write: memory that counts as a disk, unless a folder is put there."""
_SYSTEM_LINKS = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
_OF_ROOT = (
    *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
    # What the launcher needs to become another user, who may find Python in /root, and to end that user's processes.
    *("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"),
    *("--cap-add", "CAP_DAC_READ_SEARCH", "--cap-add", "CAP_KILL"),
)
"""As --unshare-all, but for the user namespace: in one of its own, root would be the only user."""


def wrapped(
    command: Iterable[str],
    *,
    readable: Iterable[str],
    environment: Mapping[str, str],
    disk_bytes: int,
    folder: str | None,
) -> list[str]:
    """The command inside bubblewrap, seeing /usr, `readable` and, as /tmp, `folder` or memory.

    Raises SandboxError where bubblewrap is missing. With memory all ends with the thread that starts it, which waits
    for it; with a folder it does not, as several threads may use it one after another.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxError("it is not installed")
    options = [program, "--new-session", "--clearenv", *(["--die-with-parent"] if folder is None else [])]
    for name, value in environment.items():
        options += ["--setenv", name, value]
    options += _OF_ROOT if os.geteuid() == 0 else ["--unshare-all"]
    # Before what may lie in it, Python in a folder of /tmp say, which it would hide.
    options += ["--proc", "/proc", "--dev", "/dev"]
    if folder is None:
        options += ["--perms", "1777", "--size", str(disk_bytes), "--tmpfs", FOLDER]
    else:
        options += ["--bind", folder, FOLDER]
    options += ["--ro-bind", "/usr", "/usr"]
    for path in _SYSTEM_LINKS:
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        else:
            options += ["--ro-bind-try", path, path]
    options += ["--perms", "0755", "--dir", "/etc"]  # else only root passes it to the list of fonts below
    for path in readable:
        if path not in _SYSTEM_LINKS and path != "/usr" and not path.startswith("/usr/"):
            options += ["--ro-bind-try", path, path]
    # Else both would be memory to write to without a limit.
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", FOLDER, "--"]
    return [*options, *command]
