"""Draws what peers.py printed, from standard input: `python chart.py TARGET.svg`. Needs matplotlib only."""

import json
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

OURS, THEIRS = "#5b4fd6", "#b8bcc8"


def main() -> None:
    results = json.load(sys.stdin)["results"]
    models = list(dict.fromkeys(result["model"] for result in results))
    heights = [sum(result["model"] == model for result in results) for model in models]
    plt.rcParams.update(
        {"svg.hashsalt": "qwen7b", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, axes = plt.subplots(
        len(models), 2, figsize=(9, 0.9 * len(models) + 0.28 * sum(heights)), squeeze=False, height_ratios=heights
    )
    for row, model in zip(axes, models, strict=True):
        chosen = [result for result in results if result["model"] == model][::-1]
        labels = [f"{result['program']} {result['weights']}" for result in chosen]
        colours = [OURS if result["program"] == "qwen7b" else THEIRS for result in chosen]
        for axis, what in zip(row, ("prefill", "decode"), strict=True):
            bars = axis.barh(range(len(chosen)), [result[what] for result in chosen], color=colours)
            axis.bar_label(bars, fmt="%.1f", padding=3)
            axis.set_yticks(range(len(chosen)), labels if what == "prefill" else [])
            axis.set_title(f"{model}: {what}, tokens/s", loc="left")
            axis.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
