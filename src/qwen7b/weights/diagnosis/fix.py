"""A mended copy of a folder, which appears whole or not at all; the source is never written to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from qwen7b.errors import ResourceError, SettingError
from qwen7b.weights.diagnosis.findings import Diagnosis

_LINKED_BYTES = 1 << 20
"""From this size on a file is linked, not copied, where the disk allows it: weights are never edited."""


def fix(diagnosis: Diagnosis, destination: Path) -> list[str]:
    """Apply the repairs of a folder's findings to a copy of its files, without subfolders; what was done.

    Without any repair there is no copy. Raises SettingError where the destination exists, ResourceError where it
    cannot be written.
    """
    source = diagnosis.path
    if os.path.lexists(destination):
        raise SettingError(f"{destination} exists already: give --fix the name of a new folder")
    # The same repair may answer several findings.
    steps = list(dict.fromkeys(finding.repair for finding in diagnosis.findings if finding.repair))
    if not steps:
        return []
    partial = destination.with_name(f".{destination.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        for file in source.iterdir():
            if file.is_file():
                _copy(file, partial / file.name)
        done = [step(partial) for step in steps]
        partial.rename(destination)
    except OSError as error:
        raise ResourceError(
            f"{destination} cannot be written ({error.strerror or error}): make room there or name another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return done


def _copy(file: Path, target: Path) -> None:
    file = file.resolve()  # the hub's cache holds symbolic links
    if file.stat().st_size >= _LINKED_BYTES:
        try:
            os.link(file, target)
            return
        except OSError:  # another disk, or one without links
            pass
    shutil.copyfile(file, target)
