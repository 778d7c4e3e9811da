"""A folder of tensors stays within its limit, keeps what is used, and never gives out what is damaged."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from qwen7b.files.tensor_folder import TensorFolder

A, B, C, D = (digit * 64 for digit in "abcd")


def tensors(value: int = 0) -> dict[str, Tensor]:
    floats = torch.full((3, 5), value, dtype=torch.bfloat16)
    return {"codes": torch.full((1000,), value, dtype=torch.int8), "floats": floats, "ids": torch.arange(4) + value}


@pytest.fixture
def folder(tmp_path: Path) -> TensorFolder:
    return TensorFolder(tmp_path / "kept" / "here", max_bytes=1 << 20)


def file_of(folder: TensorFolder, name: str) -> Path:
    return folder.path / f"{name}.safetensors"


def test_what_was_written_is_read_by_another_and_by_nobody_else(folder: TensorFolder) -> None:
    folder.write(A, tensors(7))
    found = TensorFolder(folder.path, max_bytes=1).read(A, max_bytes=9999)
    assert found is not None and found.keys() == tensors().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors(7).items())
    assert A in folder and B not in folder and folder.read(B, max_bytes=9999) is None
    if os.name == "posix":
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert stat.S_IMODE(file_of(folder, A).stat().st_mode) == 0o600


def test_what_is_damaged_is_removed(folder: TensorFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.write(A, tensors())
    whole = file_of(folder, A).read_bytes()
    places = [0, 9, 60, *range(len(whole) - 1050, len(whole), 97), len(whole) - 1]
    mutants = [whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :] for place in places]
    for content in [*mutants, b"", whole[:7], whole[:-1], whole[: len(whole) // 2]]:
        file_of(folder, A).write_bytes(content)
        assert folder.read(A, max_bytes=9999) is None and A not in folder
        assert str(file_of(folder, A)) in capsys.readouterr().err
    folder.write(A, tensors())
    assert folder.read(A, max_bytes=9999) is not None


def test_the_longest_unused_goes_and_of_those_that_go_together_the_last(folder: TensorFolder) -> None:
    for name in (A, B, C, D):
        folder.write(name, tensors())
    folder.touch([A, B, C])
    folder.touch([D])
    folder.max_bytes = int(3.5 * file_of(folder, A).stat().st_size)
    stranger = folder.path / "notes.safetensors"
    stranger.write_bytes(bytes(1 << 20))
    folder.make_room()
    assert [name in folder for name in (A, B, C, D)] == [True, True, False, True]
    folder.write(C, tensors())
    folder.touch([C])
    folder.make_room()
    assert [name in folder for name in (A, B, C, D)] == [True, False, True, True]
    another = TensorFolder(folder.path, max_bytes=1)
    another.make_room()
    assert not any(name in folder for name in (A, B, C, D)) and stranger.exists()


def test_what_lost_processes_left_goes_after_a_while(folder: TensorFolder) -> None:
    old, new = folder.path / ".0123.part", folder.path / ".4567.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 9999,) * 2)
    folder.write(A, tensors())
    folder.make_room()
    assert not old.exists() and new.exists()


def test_a_full_disk_leaves_nothing_half_done(folder: TensorFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, tensors: object) -> None:
        path.write_bytes(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("qwen7b.files.tensor_folder.write_checked", full)
    with pytest.raises(OSError, match="No space"):
        folder.write(A, tensors())
    assert not list(folder.path.iterdir())


def test_a_file_that_claims_to_be_huge_takes_no_memory(
    folder: TensorFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write(A, tensors())
    os.truncate(file_of(folder, A), 1 << 40)  # which takes no room on the disk either
    assert folder.read(A, max_bytes=9999) is None and A not in folder
    assert "1099511627776 bytes, more than 9999" in capsys.readouterr().err


def test_tensors_without_elements_are_read(folder: TensorFolder) -> None:
    folder.write(A, {"none": torch.empty(0, 3), "one": torch.ones(1)})
    found = folder.read(A, max_bytes=9999)
    assert found is not None and found["none"].shape == (0, 3) and found["one"].tolist() == [1.0]


def test_folders_that_have_the_names_of_files_are_left_alone(folder: TensorFolder) -> None:
    lost = folder.path / ".0123.part"
    for path in (file_of(folder, B), lost):
        path.mkdir()
        os.utime(path, (1, 1))
    folder.write(A, tensors())
    folder.max_bytes = 1
    folder.make_room()
    assert A not in folder and file_of(folder, B).is_dir() and lost.is_dir()


def test_what_cannot_be_looked_for_is_not_there(folder: TensorFolder) -> None:
    assert "a" * 400 not in folder  # a name that is too long, or a folder that may not be searched
