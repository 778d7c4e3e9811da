"""Safetensors headers from strangers: every number is bounded before it is used, and no two tensors share bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from qwen7b.errors import Qwen7bError
from qwen7b.files.safetensors_file import open_safetensors


def write(path: Path, header: dict[str, Any] | bytes, *, num_bytes: int = 64) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(range(num_bytes)))
    return path


def entry(*shape: Any, begin: Any = 0, end: Any = 16, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


HOSTILE: dict[str, dict[str, Any] | bytes] = {
    "overlap": {"a": entry(4), "b": entry(4, begin=12, end=28)},
    "same bytes": {"a": entry(4), "b": entry(2, 2)},
    "one within the other": {"a": entry(16, end=64), "b": entry(4, begin=16, end=32)},
    "an overlap behind an empty tensor": {"a": entry(4), "b": entry(0, begin=8, end=8), "c": entry(4, begin=8, end=24)},
    "many dimensions": {"a": entry(*[1] * 200_000)},
    "nine dimensions": {"a": entry(4, *[1] * 8)},
    "huge lengths": {"a": entry(*[2**62] * 8)},
    "a length of thousands of digits": b'{"a": {"dtype": "F32", "shape": ['
    + b"9" * 4000
    + b'], "data_offsets": [0, 16]}}',
    "lengths that wrap around": {"a": entry(2**32, 2**32, end=0)},
    "a negative length": {"a": entry(-2, -2)},
    "a fraction": {"a": entry(4.5)},
    "a float": {"a": entry(4.0)},
    "a string": {"a": entry("4")},
    "true": {"a": entry(4, True)},
    "nested": {"a": entry([4])},
    "no number": b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 16]}}',
    "an offset before the data": {"a": entry(4, begin=-16, end=0)},
    "offsets that go back": {"a": entry(4, begin=16, end=0)},
    "an offset as a string": {"a": entry(4, begin="0")},
    "three offsets": {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 32]}},
    "a shape that is a number": {"a": {"dtype": "F32", "shape": 4, "data_offsets": [0, 16]}},
    "an unknown field": {"a": entry(4) | {"scale": 2}},
    "no dtype": {"a": {"shape": [4], "data_offsets": [0, 16]}},
    "a dtype that is a list": {"a": entry(4, dtype=["F32"])},
    "a long dtype": {"a": entry(4, dtype="F" * 100_000)},
    "an unknown dtype": {"a": entry(4, dtype="F33")},
    "the same name twice": b'{"a": %b, "a": %b}' % ((json.dumps(entry(4)).encode(),) * 2),
    "metadata of a list": {"__metadata__": [], "a": entry(4)},
    "an entry of null": {"a": None},
    "deep": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "not UTF-8": b'{"\xff": 0}',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_headers(tmp_path: Path, what: str) -> None:
    path = write(tmp_path / "model.safetensors", HOSTILE[what])
    with pytest.raises(Qwen7bError) as caught:
        open_safetensors(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("claimed", [2**63 - 1, 2**64 - 1, 1 << 40, 1000])
def test_a_header_longer_than_the_file(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(claimed.to_bytes(8, "little") + b"{}")
    with pytest.raises(Qwen7bError, match="its header claims"):
        open_safetensors(path)


def test_a_header_without_end(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write((1 << 35).to_bytes(8, "little") + b'{"a":')
        file.truncate(1 << 40)
    with pytest.raises(Qwen7bError, match="its header claims"):
        open_safetensors(path)


def test_a_message_quotes_a_line_of_a_long_name(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", {"n" * 10**6: entry(5)})
    with pytest.raises(Qwen7bError) as caught:
        open_safetensors(path)
    assert len(str(caught.value)) < 600


def test_a_flipped_bit_of_the_header_is_an_error_or_changes_no_value(tmp_path: Path) -> None:
    """The format has no checksum: a name that changed is another name, and what the numbers were no reader can know."""
    header = {"a": entry(2, 2, begin=0, end=16), "bc": entry(8, begin=16, end=32, dtype="BF16")}
    path = write(tmp_path / "model.safetensors", header, num_bytes=32)
    whole = path.read_bytes()

    def contents() -> list[tuple[torch.dtype, list[int], bytes]]:
        tensors = [tensor.read_rows(0, tensor.shape[0]) for tensor in open_safetensors(path).values()]
        return [(t.dtype, list(t.shape), t.view(torch.uint8).numpy().tobytes()) for t in tensors]

    expected, refused = contents(), 0
    for position in range(len(whole) - 32):
        for bit in range(8):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            try:
                found = contents()
            except Qwen7bError:
                refused += 1
            else:
                assert found == expected, bytes(changed)
    assert refused > 4 * (len(whole) - 32)


def test_order_holes_and_empty_tensors_are_no_harm(tmp_path: Path) -> None:
    header = {"b": entry(2, begin=32, end=40), "empty": entry(0, begin=8, end=8), "a": entry(2, begin=8, end=16)}
    tensors = open_safetensors(write(tmp_path / "model.safetensors", header))
    assert list(tensors) == ["b", "empty", "a"]
    data = torch.arange(64, dtype=torch.uint8)
    assert torch.equal(tensors["a"].read_rows(0, 2), data[8:16].view(torch.float32))
    assert torch.equal(tensors["b"].read_rows(0, 2), data[32:40].view(torch.float32))
