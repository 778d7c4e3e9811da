"""Writes a repaired copy of a folder, which appears complete or not at all; the source stays unchanged."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from qwen7b.doctor.findings import Diagnosis
from qwen7b.errors import ResourceError, SettingError
from qwen7b.system.regular_file import open_regular
from qwen7b.system.whole_file import written_folder


def fix(diagnosis: Diagnosis, destination: Path) -> list[str]:
    """Copy a folder's files, without subfolders, apply the repairs of its findings, and return what was done.

    If there is no repair, nothing is copied. Raises SettingError where the destination exists, ResourceError where it
    cannot be written.
    """
    source = diagnosis.path
    if os.path.lexists(destination):
        raise SettingError(f"{destination} exists already: give --fix the name of a new folder")
    # The same repair may answer several findings.
    steps = list(dict.fromkeys(finding.repair for finding in diagnosis.findings if finding.repair))
    if not steps:
        return []
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with written_folder(destination) as partial:
            for file in source.iterdir():
                if file.is_file():
                    copy_file(file, partial / file.name)
            return [step(partial) for step in steps]
    except OSError as error:
        raise ResourceError(
            f"{destination} cannot be written ({error.strerror or error}): make room there or name another folder"
        ) from error


def copy_file(file: Path, target: Path) -> None:
    """Copy a file, as a copy-on-write clone where the file system has those; never as a link."""
    with open_regular(file) as source, target.open("wb") as copy:
        if not _clone(source.fileno(), copy.fileno()):
            shutil.copyfileobj(source, copy, 1 << 20)


def _clone(source: int, target: int) -> bool:
    """Let two open files share their blocks until one is written to; False if the file system cannot."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, 0x40049409, source)  # FICLONE, of Linux's <linux/fs.h>
    except OSError:
        return False
    return True
