"""A bar on a terminal; elsewhere a line before and one a minute."""

from __future__ import annotations

import io
import sys

import pytest

from qwen7b.system.progress import progress, progress_bar


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("tiny", total=2_000_000, done=500_000) as report:
        report(1_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Fetching tiny (2.0 MB, 0.5 MB of it already here).", "Fetched tiny in 0 s."]


def test_a_line_a_minute_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with progress("Reading", 10_000, " tokens", clock=clock) as report:
        for _ in range(100):
            clock.seconds += 25
            report(100)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "Reading."
    # Steps of 25 s are told every 75 s.
    assert len(lines) == 33
    assert lines[0] == "Reading: 300 of 10,000 tokens (3%), about 40 min left."
    assert lines[-1] == "Reading: 9,900 of 10,000 tokens (99%), about 25 s left."


def test_a_resumed_fetch_counts_only_its_own_speed(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with progress_bar("tiny", total=400_000_000, done=300_000_000, clock=clock) as report:
        report(300_000_000)
        for position in (310_000_000, 320_000_000):
            clock.seconds += 61
            report(position)
    lines = capsys.readouterr().err.splitlines()[1:-1]
    assert lines == [
        "Fetching tiny: 310.0 MB of 400.0 MB (78%), about 9 min left.",
        "Fetching tiny: 320.0 MB of 400.0 MB (80%), about 8 min left.",
    ]


def test_hours_are_told_as_hours_and_quick_work_says_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    for total in (600, 10):
        with progress("Packing", total, "B", clock=clock) as report:
            for _ in range(10):
                clock.seconds += 10 if total == 600 else 1
                report(1)
    err = capsys.readouterr().err
    assert err.splitlines()[1:-1] == ["Packing: 0.0 MB of 0.0 MB (1%), about 1 h 39 min left."]


def test_the_first_of_many_results_do_not_tell_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with progress("Answering", 1_000, " items", clock=clock) as report:
        for count in (1, 9):
            clock.seconds += 100
            report(count)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "Answering: 1 of 1,000 items (0%).",
        "Answering: 10 of 1,000 items (1%), about 5 h 30 min left.",
    ]


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("tiny", total=2_000_000, done=500_000) as report:
        report(1_000_000)
        report(750_000)
        report(2_000_000)
    assert "Fetching tiny:  25%" in terminal.getvalue()
    assert "100%" in terminal.getvalue() and "2.00M/2.00M" in terminal.getvalue()
