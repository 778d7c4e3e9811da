"""`chat` with tools: one-shot, in a conversation, and what cannot go together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import qwen7b
from qwen7b.cli.app import app
from scripted import ScriptedQwen, call

FILE = '''
from qwen7b.tools import read_only

@read_only
def now() -> str:
    """The time."""
    return "3 o'clock"

def add(a: int, b: int) -> int:
    """Add.

    Args:
        a: a number
        b: another
    """
    return a + b
'''


@pytest.fixture
def tools(tmp_path: Path) -> str:
    (tmp_path / "my_tools.py").write_text(FILE)
    return str(tmp_path / "my_tools.py")


@pytest.fixture
def ask(tools: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Result, ScriptedQwen]]:
    """Run `chat` with tools and a model that replies so."""

    def ask(replies: list[Any], *arguments: str, input: str | None = None) -> tuple[Result, ScriptedQwen]:
        qwen = ScriptedQwen(replies)
        monkeypatch.setattr(qwen7b, "load", lambda model, **settings: qwen)
        return CliRunner().invoke(app, ["chat", "Go", "--tools", tools, *arguments], input=input), qwen

    return ask


def test_a_prompt_is_answered_with_tools(ask: Any) -> None:
    result, qwen = ask([["Look. ", call("now")], "It is 3."], "--max-new-tokens", "9")
    assert (result.exit_code, result.stdout) == (0, "Look. \nIt is 3.\n")
    assert result.stderr == "→ now({})\n← 3 o'clock\n"
    assert [definition.name for definition in qwen.asked[0][1]["tools"]] == ["now", "add"]
    assert qwen.asked[0][1]["max_new_tokens"] == 9


@pytest.mark.parametrize(("options", "text"), [(["--yes"], "3"), ([], "Error: the user does not allow this call")])
def test_without_a_terminal_only_yes_runs_what_may_change_things(ask: Any, options: list[str], text: str) -> None:
    result, _ = ask([call("add", a=1, b=2), "Done."], *options)
    assert f"← {text}\n" in result.stderr and result.exit_code == 0
    assert ("Nobody is there to answer: --yes runs all calls." in result.stderr) == (not options)


def test_json_has_the_whole_run(ask: Any) -> None:
    result, _ = ask([["Look. ", call("now")], "It is 3."], "--json")
    document = json.loads(result.stdout)
    assert (document["text"], document["outcome"]) == ("It is 3.", "answered")
    assert [message["role"] for message in document["messages"]] == ["user", "assistant", "tool", "assistant"]


def test_an_interrupted_run_has_its_exit_code(ask: Any) -> None:
    assert ask([["Hm", KeyboardInterrupt()]])[0].exit_code == 130


def test_a_dialect_is_loaded(tools: str, fake: Any, run: Any) -> None:
    fake.pieces = ["Hello"]
    run("chat", "Hi", "--dialect", "react-zh")
    assert fake.loaded["dialect"] == "react-zh"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Hi", "--yes"], "--yes runs calls of tools: give --tools, --mcp or --allow-code, or leave it out"),
        (["Hi", "--tools", "absent.py"], "there is no file absent.py"),
        (
            ["--input", "x.jsonl", "--allow-code"],
            "a line of --input has its own",
        ),
        (["Hi", "--mcp", "no-such-program-anywhere"], "no-such-program-anywhere"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(run: Any, fake: Any, arguments: list[str], message: str) -> None:
    result = run("chat", *arguments)
    assert result.exit_code == 1 and message in result.stderr and fake.loaded == {}
