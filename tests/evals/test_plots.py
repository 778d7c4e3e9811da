"""Tables and plots of results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwen7b.errors import SettingError
from qwen7b.evals import Perplexity, Retrieval, perplexity_table, plot_perplexity, plot_retrieval, retrieval_table

ORIGINAL = {
    "none": (4.23, 3.78, 39.35, 469.81, 2645.09),
    "ntk": (4.23, 3.78, 3.59, 3.66, 5.71),
    "ntk+logn+window": (4.23, 3.78, 3.58, 3.49, 4.32),
}


def perplexities(file: str = "红楼梦.txt", precision: str = "q8") -> list[Perplexity]:
    return [
        Perplexity(
            file=file,
            method=method,
            precision=precision,
            dtype="float32",
            length=1024 << number,
            trained_length=2048,
            perplexity=perplexity,
            tokens_scored=1,
            seconds=1.0,
            seconds_per_token=1.0,
            cache_bytes=1,
        )
        for method, values in ORIGINAL.items()
        for number, perplexity in enumerate(values)
    ]


def retrievals() -> list[Retrieval]:
    return [
        Retrieval(
            method=method,
            precision="none",
            length=length,
            depth=depth,
            trained_length=2048,
            accuracy=depth / 100,
            trials=4,
            seconds=1.0,
            replies=(),
        )
        for method in ("none", "ntk")
        for length in (1024, 2048, 4096)
        for depth in (0, 50, 100)
    ]


def test_tables_are_markdown_that_reads_well_as_it_is() -> None:
    assert perplexity_table(perplexities()).splitlines() == [
        "| method          | 1,024 | 2,048 | 4,096 |  8,192 |  16,384 |",
        "| --------------- | ----: | ----: | ----: | -----: | ------: |",
        "| none            |  4.23 |  3.78 | 39.35 | 469.81 | 2645.09 |",
        "| ntk             |  4.23 |  3.78 |  3.59 |   3.66 |    5.71 |",
        "| ntk+logn+window |  4.23 |  3.78 |  3.58 |   3.49 |    4.32 |",
    ]
    lines = retrieval_table([result for result in retrievals() if result.method == "ntk"]).splitlines()
    assert lines[3] == "| 50%   |   50% |   50% |   50% |"


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_plots_are_written_the_same_each_time(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra eval")
    target = tmp_path / f"plot{suffix}"
    results = [*perplexities(), *perplexities("a.txt"), *perplexities(precision="none")]
    for draw in (lambda: plot_perplexity(results, target), lambda: plot_retrieval(retrievals(), target)):
        draw()
        first = target.read_bytes()
        draw()
        assert target.read_bytes() == first and len(first) > 1000


def test_a_plot_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra eval")
    (tmp_path / "plot.png").mkdir()
    with pytest.raises(SettingError, match=r"plot.png cannot be written"):
        plot_perplexity(perplexities(), tmp_path / "plot.png")


@pytest.mark.parametrize("before", [None, b"an older picture"])
def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, before: bytes | None) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra eval")
    resource = pytest.importorskip("resource", reason="needs limits of the system")
    target, limits = tmp_path / "plot.png", resource.getrlimit(resource.RLIMIT_FSIZE)
    if before is not None:
        target.write_bytes(before)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(SettingError, match=r"plot.png cannot be written"):
            plot_perplexity(perplexities(), target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if before is None else [before])


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is saved from now on."""
    figure_module = pytest.importorskip("matplotlib.figure", reason="plots need the extra eval")
    saved, save = [], figure_module.Figure.savefig

    def save_and_keep(figure: Any, *args: Any, **options: Any) -> None:
        saved.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(figure_module.Figure, "savefig", save_and_keep)
    return saved


def test_a_plot_of_perplexity_shows_every_number(tmp_path: Path, figures: list[Any]) -> None:
    results = [*perplexities(), *perplexities(precision="none")]
    plot_perplexity(list(reversed(results)), tmp_path / "plot.png")
    (figure,) = figures
    assert [axes.get_title("left") for axes in figure.axes] == [
        "红楼梦.txt, weights as they are",
        "红楼梦.txt, weights q8",
    ]
    for axes in figure.axes:
        *lines, trained = axes.get_lines()
        shown = {line.get_label(): [tuple(point) for point in line.get_xydata()] for line in lines}
        lengths = (1024, 2048, 4096, 8192, 16384)
        assert shown == {method: list(zip(lengths, values, strict=True)) for method, values in ORIGINAL.items()}
        assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == len(lines)
        assert set(trained.get_xdata()) == {2048}
        assert [text.get_text() for text in axes.texts] == ["trained length 2,048"]
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("tokens a window", "perplexity")
        assert list(axes.get_xticks()) == list(lengths)
        assert [text.get_text() for text in axes.get_xticklabels()] == ["1,024", "2,048", "4,096", "8,192", "16,384"]


def test_a_plot_of_retrieval_shows_every_share(tmp_path: Path, figures: list[Any]) -> None:
    results = [
        replace(result, accuracy=number / 17 if result.method == "none" else 1.0)
        for number, result in enumerate(retrievals())
    ]
    plot_retrieval(list(reversed(results)), tmp_path / "plot.png")
    (figure,) = figures
    assert [axes.get_title("left") for axes in figure.axes] == [
        f"{name}\nweights as they are" for name in ("ntk", "none")
    ]
    for axes, method in zip(figure.axes, ("ntk", "none"), strict=True):
        (image,) = axes.get_images()
        expected = [
            [found.accuracy for found in results if (found.method, found.depth) == (method, depth)]
            for depth in (0, 50, 100)
        ]
        assert image.get_array().tolist() == expected
        assert [text.get_text() for text in axes.texts] == [f"{share:.0%}" for row in expected for share in row]
        assert [text.get_position() for text in axes.texts] == [(x, y) for y in range(3) for x in range(3)]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["1,024", "2,048", "4,096"]
        assert [text.get_text() for text in axes.get_yticklabels()] == ["0%", "50%", "100%"]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("tokens", "depth of the fact")


def test_the_legend_hides_no_point(tmp_path: Path, figures: list[Any]) -> None:
    methods = ("none", "ntk", "ntk+logn", "ntk+logn+window", "linear+logn+window:2048", "yarn:4")
    results = [
        replace(result, method=method, perplexity=result.perplexity + number)
        for number, method in enumerate(methods)
        for result in perplexities("a.txt")
        if result.method == "none"
    ]
    plot_perplexity([*results, *[replace(result, precision="q4") for result in results]], tmp_path / "plot.png")
    (figure,) = figures
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert [text.get_text() for text in legend.get_texts()] == list(methods)
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)
