"""The folder DST.partial, where a target grows: it is resumed after a crash and appears under its name all at once.

Beside the target's files it holds `progress.json`: what is being converted how, and for each file how many bytes are
known to be good, with their hash. What lies behind them is written again.
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

from filelock import FileLock, Timeout

from qwen7b.convert.encoding import encode
from qwen7b.convert.layout import TargetFile, TargetTensor
from qwen7b.errors import CheckpointError, ResourceError, SettingError
from qwen7b.files.stored import row_ranges
from qwen7b.system.json_file import read_json
from qwen7b.system.progress import say, shown_size
from qwen7b.system.storage import check_disk_space, is_full, size_of
from qwen7b.system.whole_file import PART_SUFFIX, write_text_whole
from qwen7b.system.workers import Workers

_OWN_NAMES = {".lock", "files", "progress.json"}
_TOO_LARGE = 1 << 60  # for a file
_MARK_BYTES = 256_000_000  # written between two entries in progress.json


class Workplace:
    """The partial target of one conversion; a context manager that holds it against other processes.

    One that does not resume is gone after a failure.
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
        """Continue what is there, if it is the same job (anything that JSON can hold), or begin anew."""
        if self.folder.exists() and not (self.folder.is_dir() and all(map(_is_own, os.listdir(self.folder)))):
            raise SettingError(f"{self.folder} is in the way and none of qwen7b's: rename it or choose another target")
        with self.disk_errors():
            self.files.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise ResourceError(f"another process is converting to {self.target}: wait for it or stop it") from None
            try:
                self._open(job)
                yield
            except BaseException:
                if not self.resumes and not self.target.exists():  # or what is whole waits for its name
                    shutil.rmtree(self.folder, ignore_errors=True)
                raise
            finally:
                lock.release()

    def _open(self, job: Mapping[str, Any]) -> None:
        _drop_unless_plain(self._progress_path)
        try:
            self._progress = read_json(self._progress_path)
        except CheckpointError:
            self._progress = {}
        if self._progress.get("job") == job and _are_parts(self._progress.get("files")) and self.resumes:
            done = sum(entry["bytes"] for entry in self._progress["files"].values())
            say(f"Continuing in {self.folder}, where {shown_size(done)} are done.")
            return
        if self._progress and self.resumes:
            say(f"{self.folder} is of another source or other settings: beginning anew.")
        self.restart(job)

    def restart(self, job: Mapping[str, Any]) -> None:
        shutil.rmtree(self.files)
        self.files.mkdir()
        self._progress = {"job": dict(job), "files": {}}
        self._save()

    def _save(self) -> None:
        write_text_whole(self._progress_path, json.dumps(self._progress))

    def check_room(self, files: list[TargetFile]) -> None:
        """Raise ResourceError unless what is left to write fits the disk."""
        needed = sum(file.num_bytes - size_of(self.files / file.name) for file in files)
        check_disk_space(self.target.absolute(), needed)

    def write(self, file: TargetFile, threads: Workers, *, report: Callable[[int], None]) -> str:
        """Write a file, or the rest of it; returns its sha256. `report` is told the bytes as they are done."""
        path = self.files / file.name
        _drop_unless_plain(path)
        path.touch()
        with path.open("r+b") as output:
            digest, done = self._good_part(file, output)
            report(done)
            output.seek(done)
            output.truncate()
            for end, blocks in _stretches(file, threads):
                if end <= done:
                    continue
                for block in blocks:
                    output.write(block)
                    digest.update(block)
                    report(len(block))
                if end - done >= _MARK_BYTES or end == file.num_bytes:
                    output.flush()
                    os.fsync(output.fileno())
                    done = end
                    self._progress["files"][file.name] = {"bytes": end, "sha256": digest.hexdigest()}
                    self._save()
        return str(digest.hexdigest())

    def _good_part(self, file: TargetFile, output: BinaryIO) -> tuple[Any, int]:
        """The hash and length of what an earlier run wrote, as far as it is what that run wrote."""
        digest, name = hashlib.sha256(), file.name
        entry = self._progress["files"].get(name)
        if entry and any(end == entry["bytes"] for end in _ends(file)):
            left = entry["bytes"]
            while left and (block := output.read(min(left, 1 << 20))):
                digest.update(block)
                left -= len(block)
            if digest.hexdigest() == entry["sha256"]:
                return digest, entry["bytes"]
        if entry:
            say(f"{name} is not what was written: writing it again.")
        return hashlib.sha256(), 0

    def finish(self, *names: str) -> None:
        """Give the target its name: all of the folder's files, or for a file `names`, the target itself last."""
        if self.target.exists():
            raise SettingError(f"{self.target} has come to exist meanwhile; the new one is whole in {self.files}")
        if names:
            for name in names:
                os.replace(self.files / name, self.target.with_name(name))
        else:
            os.rename(self.files, self.target)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        """Turn the system's errors about files into ResourceError."""
        try:
            yield
        except OSError as error:
            if is_full(error):
                continued = f", which goes on from what {self.folder} holds" if self.resumes else ""
                raise ResourceError(
                    f"the disk that holds {self.target} is full: make room and run the same command again{continued}"
                ) from error
            raise ResourceError(f"{error.filename or self.folder}: {error.strerror or error}") from error


def _are_parts(files: object) -> bool:
    """Whether something is what `progress.json` says of files."""
    return isinstance(files, dict) and all(
        isinstance(entry, dict)
        and type(entry.get("bytes")) is int
        and 0 <= entry["bytes"] < _TOO_LARGE
        and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )


def _drop_unless_plain(path: Path) -> None:
    """Remove what stands in a file's place; what is behind a link is somebody else's."""
    if path.is_symlink() or not path.is_file():
        path.unlink(missing_ok=True)


def _is_own(name: str) -> bool:
    return name in _OWN_NAMES or name.endswith(PART_SUFFIX)


def _ends(file: TargetFile) -> Iterator[int]:
    """The byte after the header, then after each tensor with its padding."""
    return accumulate((file.padded(tensor.num_bytes) for tensor in file.tensors), initial=len(file.header))


def _stretches(file: TargetFile, threads: Workers) -> Iterator[tuple[int, Iterator[bytes]]]:
    """(byte after the last, blocks of bytes) of the header and of each tensor with its padding."""
    ends = _ends(file)
    yield next(ends), iter([file.header])
    for tensor, end in zip(file.tensors, ends, strict=True):
        yield end, _blocks(tensor, threads, padding=file.padded(tensor.num_bytes) - tensor.num_bytes)


def _blocks(tensor: TargetTensor, threads: Workers, *, padding: int) -> Iterator[bytes]:
    def encoded(start: int, stop: int) -> bytes:
        return encode(tensor.values.read_rows(start, stop), tensor.type, name=tensor.name)

    yield from threads.results(encoded, row_ranges(tensor.values))
    yield bytes(padding)
