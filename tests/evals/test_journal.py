"""Results stay whatever happens to the file: other line endings, a torn last line, several writers."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import run

import pytest

from qwen7b.errors import SettingError
from qwen7b.evals.journal import Journal


@dataclass(frozen=True)
class Count:
    count: int


@dataclass(frozen=True)
class Size:
    size: float


def tasks(count: int) -> list[dict[str, int]]:
    return [{"number": number} for number in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of three results."""
    journal = Journal(tmp_path / "kept.jsonl")
    for number, task in enumerate(tasks(3)):
        journal.add(task, Count(number))
    return tmp_path / "kept.jsonl"


def found(path: Path) -> list[Count | None]:
    return [Journal(path).find(task, Count) for task in tasks(5)]


WHOLE = [Count(0), Count(1), Count(2)]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("torn", range(-1, 30))
def test_a_torn_last_line_loses_only_itself(path: Path, ending: bytes, bom: bytes, torn: int) -> None:
    content = bom + path.read_bytes().replace(b"\n", ending)
    line = json.dumps({"task": {"number": 3}, "result": {"count": 3}}).encode()
    path.write_bytes(content + line[:torn] if torn >= 0 else content[: -len(ending)])
    assert found(path) == [*WHOLE, None, None]
    Journal(path).add({"number": 4}, Count(4))
    assert found(path) == [*WHOLE, None, Count(4)]
    assert path.read_bytes().startswith(content.rstrip(b"\r\n"))


def test_a_whole_last_line_without_its_end_is_kept(path: Path) -> None:
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    Journal(path).add({"number": 3}, Count(3))
    assert found(path) == [*WHOLE, Count(3), None]


def test_a_line_torn_by_another_process_meanwhile(path: Path) -> None:
    journal, whole = Journal(path), path.read_bytes()
    path.write_bytes(whole + b'{"task": {"number": 3}, "res')
    journal.add({"number": 4}, Count(4))
    assert found(path) == [*WHOLE, None, Count(4)]


def test_a_full_disk_leaves_a_line_that_the_next_run_drops(path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs limits of the system")
    journal, before = Journal(path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
    try:
        with pytest.raises(SettingError, match="results cannot be kept in"):
            journal.add({"number": 3}, Count(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert found(path) == [*WHOLE, None, None]
    journal.add({"number": 4}, Count(4))
    assert found(path) == [*WHOLE, None, Count(4)]


def test_processes_that_write_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    program = """
import sys
from pathlib import Path
from dataclasses import dataclass
from qwen7b.evals.journal import Journal
@dataclass(frozen=True)
class Count:
    count: int
for number in range(100):  # long lines, and a file that is opened anew each time
    Journal(Path(sys.argv[1])).add({"writer": sys.argv[2], "number": number, "long": "x" * 5000}, Count(number))
"""

    def write(writer: int) -> str:
        command = [sys.executable, "-c", program, str(path), str(writer)]
        return run(command, capture_output=True, text=True, timeout=600).stderr

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(write, range(3))) == [""] * 3
    journal = Journal(path)
    for writer in range(3):
        for number in range(100):
            task = {"writer": str(writer), "number": number, "long": "x" * 5000}
            assert journal.find(task, Count) == Count(number)


@pytest.mark.parametrize("number", ["-1", "1" + "0" * 60, "-5e-324", "1e999", "NaN", '"1"', "null", "true", "[1]"])
def test_numbers_that_no_result_has(tmp_path: Path, number: str) -> None:
    path = tmp_path / "kept.jsonl"
    for kind in (Count, Size):
        fields = {field.name: 1 if field.name == "count" else 1.0 for field in dataclasses.fields(kind)}
        line = json.dumps({"task": {"number": 0}, "result": fields})
        for right in ("1.0", "1"):
            path.write_text(line.replace(f": {right}}}}}", f": {number}}}}}") + "\n")
            if path.read_text() == line + "\n":
                continue
            with pytest.raises(SettingError, match=r"line 1 of .* is incomplete or not a result"):
                Journal(path).find({"number": 0}, kind)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


ODD = {
    "a pipe": _pipe,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a device that takes all": lambda path: path.symlink_to("/dev/full"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("later", [False, True])
def test_what_is_no_file_is_refused_and_stays(path: Path, kind: str, later: bool) -> None:
    journal = Journal(path) if later else None
    path.unlink()
    ODD[kind](path)
    mode = path.lstat().st_mode
    with pytest.raises(SettingError, match=r"results cannot be kept in .*: it is a"):
        journal.add({"number": 3}, Count(3)) if journal else Journal(path)
    assert path.lstat().st_mode == mode


def test_a_link_to_nowhere_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.symlink_to("elsewhere.jsonl")
    Journal(path).add({"number": 3}, Count(3))
    assert path.is_symlink() and Journal(path).find({"number": 3}, Count) == Count(3)
    path.unlink()
    path.symlink_to("no-folder/kept.jsonl")
    with pytest.raises(SettingError, match="results cannot be kept in"):
        Journal(path)


@pytest.mark.parametrize("later", [False, True])
def test_a_file_of_any_size_is_not_read_whole(path: Path, later: bool) -> None:
    journal = Journal(path) if later else None
    os.truncate(path, 1 << 40)  # with a hole that takes no room
    with pytest.raises(SettingError, match="it has more than 268,435,456 bytes"):
        journal.add({"number": 3}, Count(3)) if journal else Journal(path)


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b"[" * 100_000, b"x" * 10_000_000, b"{}", b"[]", b"null", b"\0", "\u2028".encode()]
)
def test_lines_of_others_are_told_by_number(path: Path, line: bytes) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + line + b"\n" + whole)
    with pytest.raises(SettingError, match=r"line 4 of .* is incomplete or not a result") as caught:
        Journal(path)
    assert len(str(caught.value)) < 1000 and path.read_bytes() == whole + line + b"\n" + whole


def test_of_two_results_the_last_counts(path: Path) -> None:
    Journal(path).add({"number": 1}, Count(7))
    assert Journal(path).find({"number": 1}, Count) == Count(7)
