"""The folder TARGET.partial, in which a target is written: resumable, and renamed to its final name only when complete.

Beside the target's files it holds `progress.json`: what is being converted and how, and for each file how many bytes
are known to be good, with their hash. Everything after these bytes is written again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from qwen7b.convert.encoding import encode
from qwen7b.convert.target_files import TargetFile, TargetTensor
from qwen7b.errors import CheckpointError, ResourceError, SettingError
from qwen7b.files.stored import row_ranges
from qwen7b.system.json_file import read_json
from qwen7b.system.progress import say, shown_size
from qwen7b.system.storage import check_disk_space, is_full, refusing_others, size_of
from qwen7b.system.whole_file import PART_SUFFIX, sync_folder, write_text_whole
from qwen7b.system.workers import Workers

_OWN_NAMES = {".lock", "files", "progress.json"}
_TOO_LARGE = 1 << 60  # for a file
BYTES_BETWEEN_SAVES = 256_000_000  # written between two entries in progress.json


class Workplace:
    """The partial target of one conversion, which is locked against other processes while `held`.

    If `resumes` is False, a failure removes it.
    """

    def __init__(self, target: Path, *, resumes: bool = True) -> None:
        self.target = target
        self.resumes = resumes
        self.folder = target.with_name(f"{target.name}.partial")
        self.files = self.folder / "files"
        self._progress_path = self.folder / "progress.json"
        self._progress: dict[str, Any] = {}

    @contextmanager
    def held(self, job: Mapping[str, Any]) -> Iterator[None]:
        """Lock the folder, and continue what is in it if it is the same job (any JSON value); else start over."""
        if self.folder.exists() and not (self.folder.is_dir() and all(map(_is_own, os.listdir(self.folder)))):
            raise SettingError(
                f"{self.folder} is in the way and was not made by qwen7b: rename it or choose another target"
            )
        with self.disk_errors():
            self.files.mkdir(parents=True, exist_ok=True)
            with refusing_others(self.folder, doing=f"converting to {self.target}"):
                try:
                    self._open(job)
                    yield
                except BaseException:
                    if not self.resumes and not self.target.exists():  # else only the last rename is missing
                        shutil.rmtree(self.folder, ignore_errors=True)
                    raise

    def _open(self, job: Mapping[str, Any]) -> None:
        _remove_unless_regular(self._progress_path)
        try:
            self._progress = read_json(self._progress_path)
        except CheckpointError:
            self._progress = {}
        if self._progress.get("job") == job and _is_file_progress(self._progress.get("files")) and self.resumes:
            done = sum(entry["bytes"] for entry in self._progress["files"].values())
            say(f"Continuing in {self.folder}, where {shown_size(done)} are done.")
            return
        if self._progress and self.resumes:
            say(f"{self.folder} was made from another source or with other settings: starting over.")
        self.restart(job)

    def restart(self, job: Mapping[str, Any]) -> None:
        shutil.rmtree(self.files)
        self.files.mkdir()
        self._progress = {"job": dict(job), "files": {}}
        self._save()

    def _save(self) -> None:
        write_text_whole(self._progress_path, json.dumps(self._progress))

    def check_space(self, files: list[TargetFile]) -> None:
        """Raise ResourceError unless the disk has space for what is still to be written."""
        needed = sum(file.num_bytes - size_of(self.files / file.name) for file in files)
        check_disk_space(self.target.absolute(), needed)

    def write(self, file: TargetFile, threads: Workers, *, report: Callable[[int], None]) -> str:
        """Write a file, or the rest of it, and return its sha256. `report` gets the number of bytes as they are
        done."""
        path = self.files / file.name
        _remove_unless_regular(path)
        path.touch()
        with path.open("r+b") as output:
            digest, done = self._good_part(file, output)
            report(done)
            output.seek(done)
            output.truncate()
            for end, blocks in _parts(file, threads):
                if end <= done:
                    continue
                for block in blocks:
                    output.write(block)
                    digest.update(block)
                    report(len(block))
                if end - done >= BYTES_BETWEEN_SAVES or end == file.num_bytes:
                    output.flush()
                    os.fsync(output.fileno())
                    done = end
                    self._progress["files"][file.name] = {"bytes": end, "sha256": digest.hexdigest()}
                    self._save()
        return str(digest.hexdigest())

    def _good_part(self, file: TargetFile, output: BinaryIO) -> tuple[Any, int]:
        """The hash and length of an earlier run's bytes, if the file still has them unchanged; else of no bytes."""
        digest, name = hashlib.sha256(), file.name
        entry = self._progress["files"].get(name)
        if entry and any(end == entry["bytes"] for end in _ends(file)):
            unread = entry["bytes"]
            while unread and (block := output.read(min(unread, 1 << 20))):
                digest.update(block)
                unread -= len(block)
            if digest.hexdigest() == entry["sha256"]:
                return digest, entry["bytes"]
        if entry:
            say(f"{name} has changed since it was written: writing it again.")
        return hashlib.sha256(), 0

    def finish(self, *names: str) -> None:
        """Move the target to its final name: the whole folder, or for a file `names`, with the target itself last."""
        if self.target.exists():
            raise SettingError(
                f"{self.target} was created by something else meanwhile: the new one is complete in {self.files}, so "
                "move it yourself"
            )
        sync_folder(self.files)
        if names:
            for name in names:
                os.replace(self.files / name, self.target.with_name(name))
        else:
            os.rename(self.files, self.target)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        """Turn the operating system's errors about files into ResourceError."""
        try:
            yield
        except OSError as error:
            if is_full(error):
                continued = f", which goes on from what {self.folder} holds" if self.resumes else ""
                raise ResourceError(
                    f"the disk that holds {self.target} is full: make room and run the same command again{continued}"
                ) from error
            raise ResourceError(f"{error.filename or self.folder}: {error.strerror or error}") from error


def _is_file_progress(files: object) -> bool:
    """Whether a value has the form of the "files" in `progress.json`."""
    return isinstance(files, dict) and all(
        isinstance(entry, dict)
        and type(entry.get("bytes")) is int
        and 0 <= entry["bytes"] < _TOO_LARGE
        and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )


def _remove_unless_regular(path: Path) -> None:
    """Remove anything but a regular file from a path; the target of a link belongs to someone else and stays."""
    if path.is_symlink() or not path.is_file():
        path.unlink(missing_ok=True)


def _is_own(name: str) -> bool:
    return name in _OWN_NAMES or name.endswith(PART_SUFFIX)


def _ends(file: TargetFile) -> Iterator[int]:
    """The offsets at which the header and each tensor with its padding end."""
    return accumulate((file.padded(tensor.num_bytes) for tensor in file.tensors), initial=len(file.header))


def _parts(file: TargetFile, threads: Workers) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Yield (end, blocks of bytes) for the header and for each tensor with its padding."""
    ends = _ends(file)
    yield next(ends), iter([file.header])
    for tensor, end in zip(file.tensors, ends, strict=True):
        yield end, _blocks(tensor, threads, padding=file.padded(tensor.num_bytes) - tensor.num_bytes)


def _blocks(tensor: TargetTensor, threads: Workers, *, padding: int) -> Iterator[bytes]:
    def encoded(start: int, stop: int) -> bytes:
        return encode(tensor.values.read_rows(start, stop), tensor.type, name=tensor.name)

    yield from threads.results(encoded, row_ranges(tensor.values))
    yield bytes(padding)
