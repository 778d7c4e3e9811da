"""`qwen7b doctor`: what an artefact is and what is wrong with it, or what an old traceback means."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qwen7b.cli import options
from qwen7b.errors import SettingError
from qwen7b.terminal.prompts import read_standard_input
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.doctor import Diagnosis, Explanation

_STANDARD_INPUT = "-"


def doctor(
    artefact: Annotated[
        str | None,
        typer.Argument(
            help="A known name, a path or a hub id; - or nothing for a traceback on standard input.", show_default=False
        ),
    ] = None,
    fix: Annotated[
        Path | None, typer.Option("--fix", metavar="FOLDER", help="Write a repaired copy into this new folder.")
    ] = None,
    base: Annotated[str | None, typer.Option("--base", metavar="MODEL", help="The base model of an adapter.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="MODEL", help="Where --fix takes a missing tokenizer from.")
    ] = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Say what a model is, what is wrong with it, and what to do.

    A checkpoint, an adapter or a tokenizer is checked without loading its weights, but packed ones and known models
    are compared with their checksums; a traceback of an old script is explained.

    The exit code is 1 if there are errors, or if a traceback is not known.
    """
    if artefact is None or artefact == _STANDARD_INPUT:
        if fix or base or tokenizer:
            raise SettingError("--fix, --base and --tokenizer need an artefact instead of a traceback: give its path")
        _explain(as_json=as_json)
        return
    from qwen7b.doctor import diagnose
    from qwen7b.doctor import fix as write_repaired
    from qwen7b.hub import locate

    def path_of(model: str | None) -> Path | None:
        return None if model is None else locate(model, offline=offline or None)

    diagnosis = diagnose(locate(artefact, offline=offline or None), base=path_of(base), tokenizer=path_of(tokenizer))
    document: dict[str, Any] = diagnosis.as_document()
    repairs: list[str] | None = None
    repaired_diagnosis = diagnosis
    if fix is not None:
        repairs = write_repaired(diagnosis, fix)
        if repairs:
            repaired_diagnosis = diagnose(fix, base=path_of(base))
        document |= {"repairs": repairs, "mended": repaired_diagnosis.as_document() if repairs else None}
    if as_json:
        print_json(document)
    else:
        _show(diagnosis)
        if repairs:
            typer.echo("\nRepaired: " + "; ".join(repairs) + ".\n")
            _show(repaired_diagnosis)
        elif fix is not None:
            typer.echo(f"\nNothing here can be repaired, so {fix} was not made.")
    if not repaired_diagnosis.is_healthy:
        raise typer.Exit(1)


def _explain(*, as_json: bool) -> None:
    from qwen7b.doctor import explain_traceback

    if sys.stdin.isatty():
        raise SettingError("there is nothing to diagnose: give a path, or pipe a traceback in")
    explanation = explain_traceback(read_standard_input().decode("utf-8", "replace"))
    if as_json:
        causes = [
            {"name": known.name, "cause": known.cause, "remedy": known.remedy, "source": known.source}
            for known in explanation.causes
        ]
        print_json({"kind": "traceback", "line": explanation.line, "causes": causes})
    else:
        _show_explanation(explanation)
    if not explanation.causes:
        raise typer.Exit(1)


def _show_explanation(explanation: Explanation) -> None:
    rows = [("line", explanation.line)]
    if not explanation.causes:
        rows.append(("cause", "not known: no entry in the table of known errors matches this line"))
    for known in explanation.causes:
        rows += [("cause", f"{known.cause} ({known.name})"), ("remedy", known.remedy), ("seen in", known.source)]
    show_rows(rows)


def _show(diagnosis: Diagnosis) -> None:
    typer.echo(diagnosis.path)
    show_rows(_facts(diagnosis))
    counts = dict.fromkeys(("error", "warning"), 0)
    if diagnosis.findings:
        typer.echo()
    rows: list[tuple[str, str]] = []
    for finding in diagnosis.findings:
        counts[finding.severity] += 1
        rows.append((finding.severity, finding.message + (" (--fix repairs it)" if finding.repair else "")))
    show_rows(rows)
    counts_text = ", ".join(f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items() if count)
    typer.echo(
        f"\n{'Healthy' if diagnosis.is_healthy else 'Not usable as it is'}: {counts_text or 'nothing is wrong'}."
    )
    for line in diagnosis.usage:
        typer.echo(f"  {line}")


def _facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """The facts as rows of text, a few facts per row."""
    facts = diagnosis.facts
    kind = [diagnosis.kind]
    if "model" in facts:
        kind.append(facts["model"])
    if "generation" in facts:
        kind.append(f"config {facts['generation']}")
    rows = [("is", ", ".join(kind))]
    size = []
    if "parameters" in facts:
        size.append(f"{_count(facts['parameters'])} parameters")
    size += facts.get("precision", [])
    if "quantization" in facts:
        size.append(f"groups of {facts['quantization']['group_size']}")
    if "chat" in facts:
        size.append("chat model" if facts["chat"] else "base model")
    rows.append(
        (
            "size",
            ", ".join([*size, f"{facts['files']} file{'s' * (facts['files'] != 1)}", f"{_count(facts['bytes'])}B"]),
        )
    )
    if "adapter" in facts:
        modules = facts.get("target_modules")
        if isinstance(modules, list):  # perhaps with their paths, once for each layer
            modules = ", ".join(sorted({str(module).rpartition(".")[2] for module in modules}))
        rows.append(("adapter", f"{facts['adapter']} of rank {facts.get('rank')} on {modules} of {facts.get('base')}"))
    if "checksums" in facts:
        verdict = "as they were written" if facts["checksums"] else "without checksums: quantize again to have them"
        rows.append(("numbers", verdict))
    vocabulary = [f"{facts[name]:,} {name}" for name in ("tokens", "rows") if name in facts]
    if vocabulary:
        rows.append(("vocabulary", ", ".join(vocabulary)))
    if "context_length" in facts:
        rows.append(("context", f"trained on {facts['trained_length']:,}, up to {facts['context_length']:,} tokens"))
    return rows


def _count(number: int) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.2f} {name}"
    return f"{number} "


def show_rows(rows: list[tuple[str, str]]) -> None:
    """Print a label and a text per line; on a terminal long texts are wrapped beside their labels."""
    if not sys.stdout.isatty():
        for label, text in rows:
            typer.echo(f"  {label:<10}  {text}")
        return
    from rich.table import Table
    from rich.text import Text

    from qwen7b.terminal.display import chat_console

    styles = {"error": "bold red", "warning": "yellow", "remedy": "green"}
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(min_width=12, no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(Text(f"  {label}", style=styles.get(label, "dim")), Text(text))
    chat_console().print(table)
