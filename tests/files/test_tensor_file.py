"""Files that several write to at once hold what one would have written, to the byte."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qwen7b.files.checksums import check_tensors, checksum, joined_checksum, write_checked
from qwen7b.files.tensor_file import FileTensor, TensorFile

VALUES = {
    "matrix": torch.arange(28.0).view(7, 4),
    "vector": torch.arange(7, dtype=torch.bfloat16),
    "number": torch.tensor(5.0),
}


def tensor_file(path: Path) -> TensorFile:
    tensors = {
        name: FileTensor(source=name, dtype=value.dtype, shape=tuple(value.shape)) for name, value in VALUES.items()
    }
    return TensorFile(path, tensors, format="pt")


@pytest.mark.parametrize("cuts", [(0, 7), (0, 3, 7), (0, 1, 1, 5, 7)])
def test_parts_in_any_order_make_the_file_that_one_would_have_written(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    write_checked(tmp_path / "whole", VALUES, format="pt")
    writers = [tensor_file(tmp_path / "shared") for _ in cuts[1:]]
    writers[0].create()
    written = []
    for writer, first, last in reversed([*zip(writers, cuts[:-1], cuts[1:], strict=True)]):
        for name in ("vector", "matrix"):
            written += writer.write(name, VALUES[name][first:last], first_row=first)
        writer.sync()
    written += writers[0].write("number", VALUES["number"])
    writers[0].seal(written)
    assert (tmp_path / "shared").read_bytes() == (tmp_path / "whole").read_bytes()
    assert check_tensors(tmp_path / "shared")


def test_a_tensor_may_be_some_rows_of_its_source_or_zeros(tmp_path: Path) -> None:
    matrix = VALUES["matrix"]
    tensors = {
        "low": FileTensor(source="matrix", dtype=torch.float32, shape=(3, 4)),
        "high": FileTensor(source="matrix", dtype=torch.float32, shape=(4, 4), first_row=3),
        "bias": FileTensor(source=None, dtype=torch.float32, shape=(3,)),
    }
    file = TensorFile(tmp_path / "rows", tensors)
    file.create()
    file.seal([part for first in (0, 5) for part in file.write("matrix", matrix[first : first + 5], first_row=first)])
    write_checked(tmp_path / "whole", {"low": matrix[:3], "high": matrix[3:], "bias": torch.zeros(3)})
    assert (tmp_path / "rows").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_file_that_lacks_rows_shows_it(tmp_path: Path) -> None:
    file = tensor_file(tmp_path / "part")
    file.create()
    with pytest.raises(AssertionError, match="matrix"):
        file.seal(file.write("matrix", VALUES["matrix"][:3]))


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_checksums_are_joined_as_if_all_had_been_read_at_once(parts: list[bytes]) -> None:
    joined = joined_checksum((checksum(part), len(part)) for part in parts)
    assert joined == f"{zlib.crc32(b''.join(parts)):08x}"
