"""The command as a whole: how it starts, fails and ends."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import Result

import qwen7b
from qwen7b.cli.app import app

Run = Callable[..., Result]


def command(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "qwen7b", *arguments], capture_output=True, timeout=300, **settings)


def test_help_names_every_verb(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"  {verb} " in result.stdout for verb in ("chat", "complete", "pull", "models", "tokenize"))


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"qwen7b {qwen7b.__version__}\n"


@pytest.mark.parametrize("arguments", [["chot"], ["chat", "--no-such"], ["chat", "x", "--top-k", "many"], ["pull"]])
def test_usage_errors_are_one_line_too(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.endswith("--help\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "value", "known"),
    [
        (["convert", "a", "b", "--to", "nonsense"], "nonsense", "gguf"),
        (["quantize", "a", "b", "--format", "q5"], "q5", "nf4"),
        (["chat", "x", "--top-k", "many"], "many", "integer"),
        (["chat", "x", "--max-new-tokens", "0"], "0", "1"),
    ],
)
def test_a_wrong_value_is_named_in_plain_words(run: Run, arguments: list[str], value: str, known: str) -> None:
    message = run(*arguments).stderr
    assert arguments[-2] in message and repr(value) in message and known in message
    assert "Value error" not in message


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_defect(closed: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m qwen7b tokenize hello --model {tmp_path} {closed}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.returncode == 1 and "Traceback" not in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    command = [sys.executable, "-m", "qwen7b", "models", "--json"]
    with open("/dev/full", "w") as full:  # not by a shell, which may have something to say of the locale
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "cannot be written" in result.stderr


def test_a_defect_keeps_its_traceback(run: Run, fake) -> None:
    fake.pieces = [ZeroDivisionError("a defect")]
    assert isinstance(run("chat", "Hi").exception, ZeroDivisionError)


def test_ctrl_c_exits_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(qwen7b, "load", load)
    result = run("chat", "Hi")
    assert (result.exit_code, result.output) == (130, "")


def test_a_conversation_needs_a_terminal_for_its_output() -> None:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix only")
    _, terminal = pty.openpty()
    for arguments, message in (((), b"needs a terminal for its output"), (("--json",), b"terminal")):
        result = command("chat", *arguments, stdin=terminal)
        assert result.returncode == 1 and result.stderr.startswith(b"error: ") and message in result.stderr
    os.close(terminal)


@pytest.mark.parametrize(("stdin", "stdout"), [(os.O_WRONLY, os.O_RDWR), (os.O_RDWR, os.O_RDONLY)])
def test_a_terminal_opened_the_wrong_way_is_no_conversation(stdin: int, stdout: int) -> None:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix only")
    keyboard, terminal = pty.openpty()
    streams = [os.open(os.ttyname(terminal), way | os.O_NOCTTY) for way in (stdin, stdout)]
    arguments = [sys.executable, "-m", "qwen7b", "chat", "--model", "./none"]
    result = subprocess.run(arguments, stdin=streams[0], stdout=streams[1], stderr=subprocess.PIPE, timeout=300)
    for number in (keyboard, terminal, *streams):
        os.close(number)
    assert result.returncode == 1 and result.stderr.count(b"\n") == 1
    assert result.stderr.startswith(b"error: a conversation needs a terminal to read from")


def test_output_is_utf8_whatever_the_locale() -> None:
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    result = command("chat", "x", "--model", "./没有", env=environment)
    assert result.returncode == 1
    assert "没有" in result.stderr.decode("utf-8")


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "qwen7b", "models"], stdout=writing, stderr=subprocess.PIPE, timeout=300
    )
    os.close(writing)
    assert result.stderr == b""


def test_an_unknown_model_is_one_line_with_near_names() -> None:
    result = command("chat", "x", "--model", "dmeo")
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith(b"error: ") and b"demo" in result.stderr and result.stderr.count(b"\n") == 1


def test_tokenize_and_models_need_neither_torch_nor_benchmarks() -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom qwen7b.cli.app import app\n"
        "for arguments in (['models'], ['tokenize', 'x', '-m', './none'], ['pull', 'none']):\n"
        "    print(CliRunner().invoke(app, arguments).exit_code)\n"
        "assert not {'torch', 'qwen7b.tasks.registry'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (result.stdout.split(), result.stderr) == (["0", "1", "1"], "")


MISTAKES = (
    ("--model", "dmeo"),
    ("--model", "./none"),
    ("--model", "dmeo", "--quantize", "none", "--threads", "1"),
    ("--greedy", "--temperature", "0.5"),
    ("--top-p", "2"),
    ("--seed", "-1"),
    ("--long-context", "wide"),
)


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_mistakes_are_told_before_torch_is_imported(verb: str) -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom qwen7b.cli.app import app\n"
        f"for arguments in {MISTAKES!r}:\n"
        f"    print(CliRunner().invoke(app, [{verb!r}, 'hi', *arguments]).exit_code, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("1 False\n" * len(MISTAKES), "")


def test_a_rank_that_is_not_the_first_names_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    assert run("train", "recipe", "huge").stderr.startswith("error (rank 3): ")
    monkeypatch.setenv("RANK", "0")
    assert run("train", "recipe", "huge").stderr.startswith("error: ")


@pytest.mark.parametrize("arguments", [(), ("eval",)])
def test_a_bare_command_shows_its_help(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0 and result.stdout.startswith("Usage: ") and result.stderr == ""
    assert result.stdout == run(*arguments, "--help").stdout


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its subcommands."""
    group = group or typer.main.get_command(app)
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def test_first_lines_of_help_are_whole_sentences_that_fit(run: Run) -> None:
    for path, group in commands():
        for name in getattr(group, "commands", {}):
            (line,) = (line for line in run(*path, "--help").stdout.splitlines() if line.startswith(f"  {name} "))
            assert line.endswith(".") and not line.endswith("...") and len(line) < 80


@pytest.mark.parametrize("path", [path for path, _ in commands()], ids=" ".join)
def test_every_help_has_examples_that_are_right(run: Run, path: tuple[str, ...]) -> None:
    help_text = run(*path, "--help").stdout
    assert max(map(len, help_text.splitlines())) <= 80 or path  # an example may be longer
    lines = help_text.partition("\n  Examples:\n")[2].splitlines()
    assert lines
    known = dict(commands())
    for line in lines:
        name, *words = shlex.split(re.split(" [<>] ", line)[0])
        assert name == "qwen7b"
        if words == ["--install-completion"]:
            continue
        found = max((tuple(words[:count]) for count in range(3) if tuple(words[:count]) in known), key=len)
        assert found[: len(path)] == path
        known[found].make_context(name, words[len(found) :])  # which refuses an option that there is not


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str) -> None:
    asked = {**os.environ, "_QWEN7B_COMPLETE": f"complete_{shell}", "COMP_WORDS": "qwen7b conv", "COMP_CWORD": "1"}
    asked |= {"_TYPER_COMPLETE_ARGS": "qwen7b conv", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    completed = subprocess.run([Path(sys.executable).with_name("qwen7b")], capture_output=True, env=asked, timeout=300)
    assert b"convert" in completed.stdout and b"chat" not in completed.stdout


def test_shells_complete_the_names_of_models() -> None:
    asked = {"_QWEN7B_COMPLETE": "complete_bash", "COMP_WORDS": "qwen7b chat --model de", "COMP_CWORD": "3"}
    program = [Path(sys.executable).with_name("qwen7b")]
    completed = subprocess.run(program, capture_output=True, env={**os.environ, **asked}, timeout=300)
    assert completed.stdout.split() == [b"demo"]
