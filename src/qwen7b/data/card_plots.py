"""The plots of a data card: characters by language, what each rule dropped, and how long documents are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen7b.system.figure import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEFORE, _KEPT = "#b9c2cc", "#2a9d8f"
_MAX_BARS = 12
PLOT = "card.png"


def plot_card(card: Mapping[str, Any], folder: Path) -> list[str]:
    """Draw the plots into one picture in a folder, and return its name; none where nothing came in."""
    from matplotlib.ticker import MaxNLocator

    if not card["before"]["documents"]:
        return []
    figure, (languages, rules, lengths) = new_figure(3, size=(3.7, 3.6), columns=3)
    names = list(card["before"]["by_language"])[:_MAX_BARS]
    _bars(
        languages,
        names,
        [card["before"]["by_language"][name]["characters"] for name in names],
        [card["kept"]["by_language"].get(name, {"characters": 0})["characters"] for name in names],
    )
    languages.set_title("characters by language", loc="left")
    dropped = [rule for rule in card["rules"] if rule["documents"]][:_MAX_BARS]
    rules.barh([rule["name"] for rule in dropped], [rule["documents"] for rule in dropped], color="#d1495b")
    rules.invert_yaxis()
    rules.set_title("documents dropped by rule", loc="left")
    _plot_lengths(lengths, card["lengths"])
    for axes in (languages, rules):
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(axis="x", labelrotation=30)
    save_figure(figure, folder / PLOT)
    return [PLOT]


def _bars(axes: Axes, names: Sequence[str], before: Sequence[int], kept: Sequence[int]) -> None:
    axes.barh(names, before, color=_BEFORE, label="came in")
    axes.barh(names, kept, color=_KEPT, label="kept", height=0.5)
    axes.invert_yaxis()
    axes.legend(frameon=False)


def _plot_lengths(axes: Axes, lengths: Mapping[str, Mapping[str, int]]) -> None:
    """Draw how many documents have fewer than 2, 4, 8 … characters, and at least half as many."""
    for label, colour in (("before", _BEFORE), ("kept", _KEPT)):
        counts = {int(digits): count for digits, count in lengths[label].items()}
        if counts:
            places = range(min(counts), max(counts) + 1)
            axes.step([2**place for place in places], [counts.get(place, 0) for place in places], color=colour)
    axes.set_xscale("log", base=2)
    axes.set_title("documents by characters", loc="left")
