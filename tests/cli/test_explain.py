"""`eval explain`: what it prints of two runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from saved_runs import record, write_run

Run = Callable[..., Result]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    first = write_run(tmp_path / "first", [record(0), record(1)], procedure="original-2023-08")
    second = write_run(tmp_path / "second", [record(0), record(1, logprobs=[-1.01, -1.0, -3.0, -3.0])])
    return str(first), str(second)


def test_what_differs_and_why_is_printed(run: Run, runs: tuple[str, str]) -> None:
    result = run("eval", "explain", *runs)
    assert result.exit_code == 0
    for line in (
        "procedure: original-2023-08 and standard",
        "Items in both: 2; only in the first: 0; only in the second: 0.",
        "Items that came out otherwise: 1, by their first reason: near-tie 1.",
        "first  has 2 of 2 right: 100.00 %",
        "first right               1            1",
        "McNemar's exact test: p = 1",
        "anatomy/1: 'A' right, 'B' wrong; a near-tie: the likeliest letter is ahead by 1.500 and 0.010 nat",
    ):
        assert line in result.stdout


def test_near_ties_are_as_near_as_wanted(run: Run, runs: tuple[str, str]) -> None:
    (document,) = json.loads(run("eval", "explain", *runs, "--near-tie", "0.001", "--json").stdout)
    (item,) = document["comparison"]["differing"]
    assert [reason["kind"] for reason in item["reasons"]] == ["probabilities"]
    assert document["comparison"]["right_wrong"] == 1
    assert document["differences"][0]["field"] == "procedure"


def test_a_folder_without_results_is_an_error_in_a_line(run: Run, runs: tuple[str, str], tmp_path: Path) -> None:
    result = run("eval", "explain", runs[0], str(tmp_path))
    assert result.exit_code == 1 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
