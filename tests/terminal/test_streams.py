"""Standard streams as shells and supervisors leave them: closed, the wrong way round, full, or without a reader."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="redirections are those of a Unix shell")

VERBS = {
    "--help": "--help",
    "--version": "--version",
    "models": "models",
    "tokenize": "tokenize hello --model {checkpoint}",
    "complete": "complete hello --model {checkpoint} --max-new-tokens 3 --json --quantize none",
    "unknown": "tokenize hello --model ./none",
}
LOST = [">&-", ">/dev/full", "1</dev/null", "| true"]
MUTE = ["2>&-", "2>/dev/full", "2</dev/null", "2> >(true)"]


def shell(arguments: str, redirections: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = f"{sys.executable} -m qwen7b {arguments} {redirections}; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=300, cwd=cwd)


@pytest.fixture
def arguments(tiny_chat_checkpoint: Path):
    def arguments(verb: str) -> str:
        return VERBS[verb].format(checkpoint=tiny_chat_checkpoint)

    return arguments


@pytest.mark.parametrize("verb", VERBS)
def test_lost_output_is_one_line_at_most_and_exit_code_1(arguments, verb: str) -> None:
    for redirection in LOST:
        if redirection == ">/dev/full" and not os.path.exists("/dev/full"):
            continue
        result = shell(arguments(verb), redirection)
        said = [line for line in result.stderr.splitlines() if not line.startswith(("warning: ", "Reading "))]
        assert "Traceback" not in result.stderr and "Exception" not in result.stderr, (redirection, result.stderr)
        if redirection == "| true":  # quick enough, a verb may be done before its reader goes
            assert result.returncode in (0, 1) and len(said) <= 1, (redirection, result)
        else:
            assert result.returncode == 1 and len(said) == 1, (redirection, result)


@pytest.mark.parametrize("verb", ["models", "unknown"])
def test_messages_that_nobody_reads_change_nothing(arguments, verb: str) -> None:
    expected = shell(arguments(verb), "")
    for redirection in MUTE:
        if redirection == "2>/dev/full" and not os.path.exists("/dev/full"):
            continue
        result = shell(arguments(verb), redirection)
        assert result.returncode == expected.returncode and result.stderr == "", (redirection, result)


@pytest.mark.parametrize("verb", ["chat", "complete", "tokenize", "doctor"])
@pytest.mark.parametrize("redirection", ["<&-", "0>/dev/null"])
def test_input_that_cannot_be_read_is_one_line(verb: str, redirection: str) -> None:
    result = shell(verb, redirection)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("error: standard input cannot be read (") and result.stderr.count("\n") == 1


def test_all_closed_is_silence(arguments) -> None:
    result = shell(arguments("tokenize"), "<&- >&- 2>&-")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    program = (
        "import os, sys; from qwen7b.terminal.streams import open_standard_streams; open_standard_streams();"
        "numbers = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]; sys.exit(min(numbers) < 3)"
    )
    command = f"{sys.executable} -c '{program}' <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], timeout=300).returncode == 0
