"""Files of requests are read line by line, and their answers outlast an interrupt, a full disk and a mistake."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from qwen7b.batch import request_files
from qwen7b.batch.request_files import ReplyFile, read_requests
from qwen7b.errors import PromptError, SettingError

PLAIN = {"index": 0, "request_id": "aa", "prompt": "x", "reply": "Hi"}
BATCH: dict[str, Any] = {"id": "batch_req_bb", "custom_id": "q", "response": {"status_code": 200}, "error": None}
FAILED = {"index": 1, "request_id": "cc", "error": {"code": "invalid_request_error", "message": "no"}}


def lines_of(*answers: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)


def test_each_line_is_read_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_files, "MAX_BYTES", 40)
    long = b'"' + b"x" * 100 + b'"'
    text = b'\xef\xbb\xbf"a"\r\n\n  \n{"prompt": "b"}\nnot json\n' + long + b'\n"\xff"\n{"a": 1, "a": 2}\n[1]\n"last"'
    read = list(read_requests(io.BytesIO(text)))
    assert [read[n] for n in (0, 1, 6, 7)] == ["a", {"prompt": "b"}, [1], "last"]
    for value, message in (
        (read[2], "line 5 is not JSON"),
        (read[3], "line 6 has more than 40 bytes"),
        (read[4], "line 7 is not JSON"),
        (read[5], "line 8 is not JSON: an object has the name 'a' twice"),
    ):
        assert isinstance(value, PromptError) and message in str(value)
    file = io.BytesIO(b'"a"\n"b"')
    assert list(read_requests(file)) == list(read_requests(file)) == ["a", "b"]


def test_answers_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ReplyFile(path) as replies:
        assert replies.find_answered() == frozenset()
        replies.add(PLAIN)
        replies.add(BATCH)
        replies.add({**FAILED, "note": "\ud800 你"})
        assert path.read_bytes().endswith('"note": "\\ud800 你"}\n'.encode())
    with ReplyFile(path) as again:
        assert again.find_answered() == {"aa", "bb"}
        assert path.read_bytes() == lines_of(PLAIN, BATCH)  # what failed is tried again
        again.add(FAILED)
    assert path.read_bytes() == lines_of(PLAIN, BATCH, FAILED)


@pytest.mark.parametrize("whole", [PLAIN, BATCH, FAILED])
def test_an_incomplete_line_at_the_end_is_cut_off(tmp_path: Path, whole: dict[str, Any]) -> None:
    for size in range(1, len(lines_of(whole))):
        path = tmp_path / f"{size}.jsonl"
        path.write_bytes(lines_of(PLAIN) + lines_of(whole)[:size])
        with ReplyFile(path) as replies:
            assert replies.find_answered() == {"aa"}
        assert path.read_bytes() == lines_of(PLAIN)


@pytest.mark.parametrize(
    "content",
    [
        b"notes\n",
        b"notes",
        b'{"prompt": "x"}\n',
        b'{"prompt": "x"}',
        b"[]\n",
        lines_of(PLAIN) + b"\n",
        b'{"index": 1}\n',
        b'{"id": "batch_req_x"}\n',
        lines_of(PLAIN) + b"\x00\x01",
        lines_of(PLAIN)[:-9] + b"\n" + lines_of(PLAIN),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    wrong = pytest.raises(SettingError, match=r"line \d of .*notes.txt is no answer to a request")
    with ReplyFile(path) as replies, wrong:
        replies.find_answered()
    assert path.read_bytes() == content


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="Windows has no such locks")
    path = tmp_path / "out.jsonl"
    with ReplyFile(path), pytest.raises(SettingError, match="is being written by another process"):
        ReplyFile(path)
    with ReplyFile(path) as replies:
        replies.add(PLAIN)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"answers cannot be kept in .*: it is a folder"):
        ReplyFile(tmp_path)
    with pytest.raises(SettingError, match=r"answers cannot be kept in .*missing"):
        ReplyFile(tmp_path / "missing" / "out.jsonl")


def test_a_full_disk_is_told_once_and_costs_one_answer(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of files")
    path, limits = tmp_path / "out.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    room = len(lines_of(PLAIN)) + 20
    try:
        with ReplyFile(path) as replies:
            replies.add(PLAIN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
            with pytest.raises(SettingError, match=r"answers cannot be kept in .*: File too large"):
                replies.add(BATCH)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.stat().st_size == room
    with ReplyFile(path) as replies:
        assert replies.find_answered() == {"aa"}
        replies.add(BATCH)
    assert path.read_bytes() == lines_of(PLAIN, BATCH)
