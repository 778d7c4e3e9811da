"""The page on scores names commands and reasons that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from qwen7b.cli.app import app
from qwen7b.results import published, reasons

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
COMMANDS = re.findall(r"^    (qwen7b eval .*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_pages_commands_have_the_verbs_and_options_that_they_name(line: str) -> None:
    _, verb, test, *arguments = shlex.split(line)
    if test == "lm-eval":  # whose own command knows its options
        harness = pytest.importorskip("lm_eval._cli", reason="needs the extra lm-eval")
        assert harness.HarnessCLI()._parser.parse_args(arguments).command == arguments[0]
        return
    if test.startswith("--"):  # an option of all tests' group
        context = get_command(app).commands[verb].make_context(verb, [test, *arguments])  # type: ignore[attr-defined]
        assert context.invoked_subcommand is None
        return
    command = get_command(app).commands[verb].commands[test]  # type: ignore[attr-defined]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 5


def test_the_page_explains_every_reason() -> None:
    source = Path(reasons.__file__).read_text("utf-8")
    rows = re.findall(r"^\| `([a-z -]+)` \|", PAGE.partition("## Why two scores differ")[2], re.MULTILINE)
    assert set(rows) == set(re.findall(r'kind="([a-z -]+)"', source))


def test_published_scores_on_the_page_are_those_of_the_tables() -> None:
    ceval = {row.measured.split: row.score for row in published.published_rows() if row.measured.task == "ceval"
             and row.model == "Qwen-7B"}  # fmt: skip
    assert ceval == {"test": 59.6, "val": 60.8} and all(str(score) in PAGE for score in ceval.values())
