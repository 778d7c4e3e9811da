"""Files of the cache: told whole from damaged, with room, without ever being half-written."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from qwen7b.errors import ResourceError
from qwen7b.system import storage

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(CONTENT)
    return path


def is_whole(path: Path) -> bool:
    return storage.is_whole(path, size=len(CONTENT), sha256=SHA256)


def test_a_file_is_hashed_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_whole(file)
    monkeypatch.setattr(storage, "sha256_of", lambda path: pytest.fail("hashed again"))
    assert is_whole(file)


def test_a_changed_file_is_hashed_again(file: Path) -> None:
    assert is_whole(file)
    file.write_bytes(CONTENT.replace(b"w", b"v"))
    assert not is_whole(file)


def test_an_unreadable_marker_means_hashing_again(file: Path) -> None:
    file.with_name("model.gguf.verified").write_bytes(b"\xff")
    assert is_whole(file)


def test_missing_short_and_wrong_files_are_not_whole(file: Path) -> None:
    assert not is_whole(file.with_name("none"))
    file.write_bytes(CONTENT[1:])
    assert not is_whole(file)
    file.write_bytes(bytes(len(CONTENT)))
    assert not is_whole(file)


def test_put_in_place(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "final.gguf"
    storage.put_in_place(file, target, sha256=SHA256)
    assert not file.exists()
    monkeypatch.setattr(storage, "sha256_of", lambda path: pytest.fail("hashed again"))
    assert is_whole(target)


def test_disk_space_names_the_numbers_and_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=999))
    storage.check_disk_space(tmp_path / "not" / "yet", 999, variable="QWEN7B_CACHE")
    with pytest.raises(ResourceError, match=r"1,000 bytes are needed in .* and 999 are free; .* set QWEN7B_CACHE"):
        storage.check_disk_space(tmp_path, 1000, variable="QWEN7B_CACHE")


@pytest.mark.parametrize(
    ("number", "message"), [(errno.ENOSPC, "is full: make room"), (errno.EROFS, "Read-only file system")]
)
def test_system_errors_become_one_sentence(number: int, message: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ResourceError, match=f"{message}.* or set HF_HOME"),
        storage.storage_errors(tmp_path, variable="HF_HOME"),
    ):
        raise OSError(number, "Read-only file system")
