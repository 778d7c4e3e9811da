"""Plots of results. matplotlib comes with the extra `eval`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qwen7b.evals.perplexity import Perplexity
from qwen7b.system.figure import COLOURS, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from qwen7b.evals.needle import Retrieval

_MARKERS = "osD^vPX*"


def plot_perplexity(results: Sequence[Perplexity], target: Path) -> None:
    """Plot perplexity against length, both logarithmic: a line per method, a panel per file and precision."""
    panels = list(dict.fromkeys((result.file, result.precision) for result in results))
    methods = list(dict.fromkeys(result.method for result in results))
    lengths = sorted({result.length for result in results})
    figure, grid = new_figure(len(panels), size=(5.4, 4.0 + 0.2 * -(-len(methods) // 2)))
    for axes, (file, precision) in zip(grid, panels, strict=True):
        for number, method in enumerate(methods):
            points = [
                (result.length, result.perplexity)
                for result in results
                if (result.file, result.precision, result.method) == (file, precision, method)
            ]
            axes.plot(
                *zip(*sorted(points), strict=True),
                label=method,
                color=COLOURS[number % len(COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                # Where methods agree, a later line would hide an earlier one of the same width.
                linewidth=3.2 - 2.0 * number / max(len(methods) - 1, 1),
                markersize=8 - 4.0 * number / max(len(methods) - 1, 1),
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axes.set_xticks([], minor=True)
        trained_length = results[0].trained_length
        axes.axvline(trained_length, color="#888888", linestyle="--", linewidth=1, zorder=0)
        axes.annotate(
            f"trained length {trained_length:,}",
            (trained_length, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -4),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            color="#666666",
        )
        _label_logarithms(axes)
        axes.set_xlabel("tokens a window")
        axes.set_ylabel("perplexity")
        axes.set_title(f"{Path(file).name}, {_weights(precision)}", loc="left")
    # Below all panels, where it hides no point.
    figure.legend(handles=grid[0].get_lines()[: len(methods)], loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, target)


def plot_retrieval(results: Sequence[Retrieval], target: Path) -> None:
    """Plot accuracy by length and depth as a heat map, with a panel per precision and method."""
    panels = list(dict.fromkeys((result.precision, result.method) for result in results))
    lengths = sorted({result.length for result in results})
    depths = sorted({result.depth for result in results})
    accuracies = {(r.precision, r.method, r.length, r.depth): r.accuracy for r in results}
    figure, grid = new_figure(len(panels), size=(2.2 + 0.65 * len(lengths), 1.7 + 0.42 * len(depths)))
    for axes, (precision, method) in zip(grid, panels, strict=True):
        shares = [[accuracies[precision, method, length, depth] for length in lengths] for depth in depths]
        axes.imshow(shares, cmap="RdYlGn", vmin=-0.3, vmax=1.3, aspect="auto")  # pale enough for the numbers on it
        for row, values in enumerate(shares):
            for column, value in enumerate(values):
                axes.text(column, row, f"{value:.0%}", ha="center", va="center", color="black")
        axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths], rotation=30)
        axes.set_yticks(range(len(depths)), [f"{depth}%" for depth in depths])
        axes.set_xlabel("tokens")
        axes.set_ylabel("depth of the fact")
        axes.set_title(f"{method}\n{_weights(precision)}", loc="left")
    save_figure(figure, target)


def _weights(precision: str) -> str:
    return "weights as they are" if precision == "none" else f"weights {precision}"


def _label_logarithms(axes: Axes) -> None:
    """Label the y axis with enough plain numbers, whether its range is small or large."""
    from matplotlib.ticker import AutoLocator, FuncFormatter, LogLocator, NullLocator

    low, high = axes.get_ylim()
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    axes.yaxis.set_major_locator(AutoLocator() if high / low < 10 else LogLocator(subs=steps))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.grid(True, axis="y", color="#e6e6e6")
