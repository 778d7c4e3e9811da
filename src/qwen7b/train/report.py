"""The report of a run: one HTML page that needs nothing but itself, with plots of its log and samples by step."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen7b.errors import SettingError
from qwen7b.system.figure import new_figure, require_matplotlib, svg_of
from qwen7b.system.storage import storage_errors
from qwen7b.system.whole_file import write_text_whole
from qwen7b.train.run_log import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"model": "#5b4fd6", "gzip": "#8a5a44", "bz2": "#d1495b", "xz": "#e09f3e", "ppmd": "#2a9d8f"}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse}}td,th{{border:1px solid #ddd;padding:.3rem .6rem;text-align:left;vertical-align:top}}
svg{{max-width:100%;height:auto}}pre{{background:#f6f6f6;padding:.8rem;overflow:auto}}</style>
<h1>{title}</h1>
{body}
</html>
"""

Bits = Mapping[int, Mapping[str, float]]
"""By step, the bits a byte of each compressor that was given what the run had read by then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunHistory:
    """A run as its files tell it."""

    name: str
    recipe: str
    steps: Sequence[Mapping[str, Any]]
    """A step's entry each."""
    looks: Sequence[Mapping[str, Any]]
    """An entry for each look at the model."""
    speeds: Sequence[Mapping[str, Any]]

    @property
    def tokens(self) -> int:
        return sum(entry["tokens"] for entry in self.steps)

    @property
    def seconds(self) -> float:
        return float(sum({entry["step"]: entry["seconds"] for entry in self.speeds}.values()))


def read_run(folder: Path) -> RunHistory:
    """Read a run's files. Raises SettingError where there is no run, or none of its steps is done."""
    if not (folder / "recipe.toml").is_file():
        raise SettingError(f"{folder} holds no run: give the folder that qwen7b train wrote")
    entries = [*read_log(folder / "log.jsonl")]
    steps = [entry for entry in entries if "loss" in entry]
    if not steps:
        raise SettingError(f"{folder} has no step in its log yet: let it run for a while")
    return RunHistory(
        name=folder.resolve().name,
        recipe=(folder / "recipe.toml").read_text("utf-8"),
        steps=steps,
        looks=[entry for entry in entries if "loss" not in entry],
        speeds=[*read_log(folder / "speed.jsonl")],
    )


def spread(steps: Sequence[int], count: int) -> list[int]:
    """At most `count` of some steps, evenly spread, the last among them.

    >>> spread([10, 20, 30, 40, 50], 3)
    [10, 30, 50]
    """
    if count >= len(steps):
        return list(steps)
    if count == 1:
        return [steps[-1]]
    return [steps[round(number * (len(steps) - 1) / (count - 1))] for number in range(count)]


def write_run_report(history: RunHistory, target: Path, *, compressed: Bits | None = None) -> None:
    """Write the report of a run. Raises ResourceError where it cannot be written."""
    with storage_errors(target.parent, variable=None):
        write_text_whole(target, report_page(history, compressed=compressed or {}))


def report_page(history: RunHistory, *, compressed: Bits) -> str:
    """The report as HTML; every text in it is escaped."""
    parts = [_summary(history)]
    parts += [f"<h2>{title}</h2>\n{plot}" for title, plot in _plots(history, compressed)]
    parts.append(_looks_table(history, compressed))
    parts += _samples(history)
    parts.append(f"<h2>Recipe</h2>\n<pre>{html.escape(history.recipe)}</pre>")
    return _PAGE.format(title=html.escape(history.name), body="\n".join(part for part in parts if part))


def _summary(history: RunHistory) -> str:
    last = history.steps[-1]
    skipped = sum(entry.get("skipped", False) for entry in history.steps)
    rows = {
        "steps": f"{last['step']:,}",
        "tokens": f"{history.tokens:,}",
        "last loss": f"{last['loss']:.4f} nats a {_loss_term(history)}",
        "spikes skipped": f"{skipped:,}",
    }
    bits = [entry["bits_per_byte"] for entry in history.looks if "bits_per_byte" in entry]
    if bits:
        rows["held-out text"] = f"{bits[-1]:.4f} bits a byte"
    if history.seconds:
        rows["time in steps"] = f"{history.seconds:,.0f} s"
        rows["tokens a second"] = f"{history.tokens / history.seconds:,.0f}"
    shares = sorted(entry["share_of_peak"] for entry in history.speeds if "share_of_peak" in entry)
    if shares:
        rows["share of peak"] = f"{shares[len(shares) // 2]:.0%} (median)"
    return _table(["", ""], [[name, value] for name, value in rows.items()])


def _loss_term(history: RunHistory) -> str:
    """What the loss is the mean over: a run on preferences logs their margin."""
    return "pair" if "margin" in history.steps[-1] else "token"


def _plots(history: RunHistory, compressed: Bits) -> list[tuple[str, str]]:
    require_matplotlib(extra="train")
    plots = []
    looks = [entry for entry in history.looks if "bits_per_byte" in entry]
    measured = [kind for kind in ("margin", "accuracy") if kind in history.steps[-1]]
    kinds = ["loss", *measured, *(["bits_per_byte"] if looks else []), "grad_norm", "learning_rate"]
    titles = {
        "loss": f"Loss (nats a {_loss_term(history)})",
        "margin": "Margin of the chosen answers' reward",
        "accuracy": "Share of pairs whose chosen answer has the higher reward",
        "bits_per_byte": "Held-out text (bits a byte)",
        "grad_norm": "Gradient norm",
        "learning_rate": "Learning rate",
    }
    for kind in kinds:
        figure, (axes,) = new_figure(1, size=(8, 3))
        entries = looks if kind == "bits_per_byte" else history.steps
        axes.plot([e["step"] for e in entries], [e[kind] for e in entries], color=_COLOURS["model"], label="model")
        if kind == "grad_norm":
            axes.set_yscale("log")
        if kind == "bits_per_byte":
            _draw_compressors(axes, compressed)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        plots.append((titles[kind], svg_of(figure)))
    return plots


def _draw_compressors(axes: Axes, compressed: Bits) -> None:
    steps = sorted(compressed)
    for name in compressed[steps[0]] if steps else ():
        axes.plot(steps, [compressed[step][name] for step in steps], "--", color=_COLOURS[name], label=name)
    if steps:
        axes.legend(frameon=False)


def _looks_table(history: RunHistory, compressed: Bits) -> str:
    looks = [entry for entry in history.looks if "bits_per_byte" in entry]
    if not looks:
        return ""
    names = [*compressed[min(compressed)]] if compressed else []
    rows = []
    for entry in looks:
        others = compressed.get(entry["step"], {})
        shown = [f"{others[name]:.4f}" if name in others else "" for name in names]
        rows.append([f"{entry['step']:,}", f"{entry['bits_per_byte']:.4f}", *shown])
    return "<h2>Bits a byte by step</h2>\n" + _table(["step", "model", *names], rows)


def _samples(history: RunHistory) -> list[str]:
    rows = [
        [f"{entry['step']:,}", prompt, text]
        for entry in history.looks
        for prompt, text in entry.get("samples", {}).items()
    ]
    return ["<h2>Samples</h2>", _table(["step", "beginning", "how the model goes on"], rows)] if rows else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    if any(head):
        lines.insert(0, f"<tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"
