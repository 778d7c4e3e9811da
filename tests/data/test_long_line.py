"""A line of gigabytes is never in memory."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from qwen7b.data.byte_files import byte_lines

PROGRAM = """
import resource, sys
from qwen7b.data import Intake, Sources, read_documents
from qwen7b.data.reading import ReadingSettings
intake = Intake(skips=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
documents = list(read_documents(Sources.parsed([sys.argv[1]], ReadingSettings(max_document_mb=1)), intake))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(documents), intake.skipped.total(), (after - before) // 1024)
"""


def test_a_line_of_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    """A sparse file would be all NUL bytes; what counts is that its line is skipped by length, and how."""
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "')
        file.seek(400_000_000)  # as with 2 GB, sooner
        file.write(b'"}\n{"text": "after"}\n')
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    documents, skipped, megabytes = map(int, result.stdout.split())
    assert (documents, skipped) == (1, 1) and megabytes < 60


def test_lines_have_their_places() -> None:
    lines = list(byte_lines(io.BytesIO(b"ab\r\n" + b"x" * 9 + b"\n\ncd"), limit=5))
    assert [(line.number, line.offset, line.data) for line in lines] == [
        (1, 0, b"ab"),
        (2, 4, None),
        (3, 14, b""),
        (4, 15, b"cd"),
    ]
