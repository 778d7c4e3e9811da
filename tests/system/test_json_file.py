"""JSON from strangers: bounded in size, depth and number of values."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen7b.errors import CheckpointError
from qwen7b.system.json_file import parse_json, read_json

TOO_MUCH = {
    "lists": b'{"a":[' + b"[]," * (1 << 20) + b"[]]}",
    "objects": b'{"a":[' + b'{"":0},' * (1 << 20) + b"0]}",
    "values": b'{"a":[' + b"0," * (1 << 22) + b"0,0]}",
    "depth": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "depth of objects": b'{"a":' * 100_000 + b"0" + b"}" * 100_000,
    "digits": b'{"a":' + b"9" * 5000 + b"}",
    "no text": b'{"a":"\xff"}',
    "no end": b'{"a":',
    "nothing": b"",
    "a list": b"[]",
    "a number": b"7",
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_hostile_json(tmp_path: Path, what: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(TOO_MUCH[what])
    with pytest.raises(CheckpointError) as caught:
        read_json(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 500


def test_a_file_without_end(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.write(b'{"a": 1}')
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="has more than 67,108,864 bytes"):
        read_json(path)


def test_names_twice() -> None:
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(ValueError, match="the name 'a' twice"):
        parse_json(b'{"b": {"a": 1, "a": 2}}', unique=True)


def test_a_byte_order_mark_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "config.json") == {"a": 1}
