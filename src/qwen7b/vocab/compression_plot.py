"""The plot of `qwen7b vocab measure`: the figure of the original's memo, over the texts at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qwen7b.system.figure import COLOURS, new_figure, save_figure
from qwen7b.vocab.compression import Compression


def plot_compression(results: Sequence[Compression], target: Path) -> None:
    """Plot tokens relative to the baseline's as bars: a group per language, a bar per other vocabulary.

    Languages come by the last vocabulary's ratio, the highest first. A single vocabulary is plotted by its bytes a
    token instead, as it has nothing to be compared with.
    """
    baseline = results[0].baseline
    names = list(dict.fromkeys(result.vocabulary for result in results))
    shown = [name for name in names if name != baseline] or names
    is_relative = shown != names
    heights = {
        (result.language, result.vocabulary): result.relative_tokens if is_relative else result.bytes_per_token
        for result in results
    }
    languages = sorted({result.language for result in results}, key=lambda name: -heights[name, shown[-1]])
    width = 0.8 / len(shown)
    figure, (axes,) = new_figure(1, size=(max(5.0, 1.5 + 0.16 * len(languages) * (1 + len(shown))), 4.0))
    for number, name in enumerate(shown):
        axes.bar(
            [place + (number - (len(shown) - 1) / 2) * width for place in range(len(languages))],
            [heights[language, name] for language in languages],
            width=width,
            color=COLOURS[number % len(COLOURS)],
            label=name,
        )
    axes.set_xticks(range(len(languages)), languages, rotation=90 if len(languages) > 12 else 0)
    axes.set_xlim(-0.6, len(languages) - 0.4)
    axes.grid(True, axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)
    if is_relative:
        axes.axhline(1, color="#888888", linestyle="--", linewidth=1)
        axes.set_ylabel(f"tokens, {baseline} = 1")
    else:
        axes.set_ylabel("bytes a token")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    save_figure(figure, target)
