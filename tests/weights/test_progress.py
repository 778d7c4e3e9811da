"""A bar on a terminal; elsewhere one line before and one after."""

from __future__ import annotations

import io
import sys

import pytest

from qwen7b.weights.progress import progress_bar


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("tiny", total=2_000_000, done=500_000) as report:
        report(1_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Fetching tiny (2.0 MB, 0.5 MB of it already here).", "Fetched tiny in 0 s."]


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
