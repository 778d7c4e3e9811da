"""Reports of runs: report.md, and report.html, a page that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from qwen7b.errors import SettingError
from qwen7b.results.item_data import item_data, json_in_html
from qwen7b.results.published import MAIN, MAIN_COLUMNS, PRECISIONS
from qwen7b.results.run_summary import RunSummary, summarize_run
from qwen7b.results.saved_run import SavedRun, read_runs
from qwen7b.system.whole_file import write_text_whole

_FOLDER = Path(__file__).with_name("templates")
MARKDOWN, PAGE = "report.md", "report.html"


def write_report(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write a report of all runs in these folders, in Markdown and as a page; and return the paths of both.

    Raises SettingError where a folder has no results or `out` cannot be written.
    """
    runs = [run for folder in folders for run in read_runs(folder).values()]
    texts = {MARKDOWN: markdown_report(runs), PAGE: page_report(runs)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text_whole(out / name, text)
    except OSError as error:
        raise SettingError(f"the report cannot be written to {out}: {error.strerror or error}") from error
    return [out / name for name in texts]


def markdown_report(runs: Sequence[SavedRun]) -> str:
    """A report as a Markdown text. It has no text of a model."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters |= {"score": score_text, "interval": interval_text, "plain": plain_markdown}
    return environment.from_string(_read("report.md.jinja")).render(runs=_summaries(runs), **_TABLES)


def page_report(runs: Sequence[SavedRun]) -> str:
    """A report as one HTML page. Every text in it is escaped, and only its own script may run."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    environment.filters |= {"score": score_text, "interval": interval_text}
    environment.globals["beside_bars"] = _beside_bars
    script, style = _read("report.js"), _read("report.css")
    return environment.from_string(_read("report.html.jinja")).render(
        runs=_summaries(runs),
        data=[Markup(json_in_html(item_data(run))) for run in runs],
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        **_TABLES,
    )


_TABLES: dict[str, Any] = {"main": MAIN, "columns": MAIN_COLUMNS, "precisions": PRECISIONS}


def _summaries(runs: Sequence[SavedRun]) -> list[RunSummary]:
    return [summarize_run(run) for run in runs]


def _beside_bars(run: RunSummary) -> list[dict[str, Any]]:
    """The run and the published scores that it may stand beside, best first; those of other measures are no bars."""
    rows = [
        {"name": " ".join(filter(None, (row.model, row.precision, row.memory))), "score": row.score, "interval": None}
        for row in run.published.comparable
        if not row.measure
    ]
    own = {"name": "this run", "score": run.score, "interval": run.interval, "own": True}
    return sorted([own, *rows], key=lambda bar: -math.inf if bar["score"] is None else bar["score"], reverse=True)


def score_text(score: float | None, digits: int = 1) -> str:
    """
    >>> score_text(56.72), score_text(None)
    ('56.7', '–')
    """
    return "–" if score is None else f"{score:.{digits}f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """
    >>> interval_text((55.12, 58.2))
    '55.1 to 58.2'
    """
    return "–" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}"


def plain_markdown(text: object) -> str:
    r"""A text that Markdown shows as it is, in a table too.

    >>> plain_markdown("a_b|<img>\nc")
    'a\\_b\\|\\<img\\> c'
    """
    return re.sub(r"([\\`*_{}\[\]<>|#~&!])", r"\\\1", " ".join(str(text).split()))


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _hash(text: str) -> str:
    """What a page's content security policy calls a script or style by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
