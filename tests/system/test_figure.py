"""Whether a plot can be written is said before the work that it would show."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qwen7b.errors import MissingExtraError, SettingError
from qwen7b.system.figure import check_plot


def test_a_plot_needs_a_known_kind_and_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need an extra")
    check_plot(tmp_path / "plot.PNG")
    with pytest.raises(SettingError, match=r"must end in \.png, \.svg, \.pdf, found .*plot\.gif"):
        check_plot(tmp_path / "plot.gif")
    with pytest.raises(SettingError, match=r"there is no folder .*none for the plot plot\.png: make it first"):
        check_plot(tmp_path / "none" / "plot.png")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib is not installed.*train"):
        check_plot(tmp_path / "plot.png", extra="train")
