"""Figures of matplotlib: in one style, and written whole or not at all. matplotlib comes with extras."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen7b.errors import MissingExtraError, SettingError
from qwen7b.system.whole_file import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#3d3d3d", "#d1495b", "#2a9d8f", "#5b4fd6", "#e09f3e", "#4a90d9", "#8a5a44", "#b05fb0")
"""The colours of series, in their order."""
_KINDS = (".png", ".svg", ".pdf")
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "qwen7b",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def check_plot(target: Path, *, extra: str = "eval") -> None:
    """Raise MissingExtraError or SettingError if a plot cannot be written there, so that hours of work are not lost.

    `extra` is the extra that brings matplotlib to whoever asks.
    """
    require_matplotlib(extra=extra)
    if target.suffix.lower() not in _KINDS:
        raise SettingError(f"a plot's name must end in {', '.join(_KINDS)}, found {str(target)!r}")
    if not target.parent.is_dir():
        raise SettingError(f"there is no folder {target.parent} for the plot {target.name}: make it first")


def require_matplotlib(*, extra: str) -> None:
    """Raise MissingExtraError where matplotlib is not installed, with the extra that brings it to whoever asks."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra=extra) from error


def new_figure(count: int, *, size: tuple[float, float], columns: int = 2) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most `columns` in a row, each of this size in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    columns = min(count, columns)
    rows = -(-count // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(count)]


def save_figure(figure: Figure, target: Path) -> None:
    """Write a figure, with the same bytes each time. Raises SettingError where it cannot be written."""
    import matplotlib

    kind = target.suffix.lower()
    metadata = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[kind]
    with warnings.catch_warnings(), matplotlib.rc_context(_STYLE):
        warnings.filterwarnings("ignore", message="Glyph")  # a file's name may have letters that the font lacks
        try:
            with written_whole(target) as partial:
                figure.savefig(partial, format=kind.removeprefix("."), dpi=150, metadata=metadata)
        except OSError as error:
            raise SettingError(f"the plot {target} cannot be written: {error.strerror or error}") from error


def svg_of(figure: Figure) -> str:
    """A figure as the <svg> element of a page, whose text stays text; the same each time."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({**_STYLE, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue().decode()
    return svg[svg.index("<svg") :]
