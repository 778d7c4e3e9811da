"""`qwen7b data clean`: documents out of files, each kept or dropped by named rules, with a card that says why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from qwen7b.cli import options
from qwen7b.cli.measuring import parse_names
from qwen7b.errors import SettingError
from qwen7b.system.container import usable_cores
from qwen7b.system.progress import say
from qwen7b.terminal.streams import print_json

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE…",
        show_default=False,
        help="Files and folders of JSON lines, text, HTML and Parquet, perhaps as NAME=PATH. Text, JSON lines and HTML "
        "may end in .gz, .zst, .bz2 or .xz.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to make; it must not exist.")]
Format = Annotated[
    Literal["jsonl", "text", "html", "parquet"] | None,
    typer.Option("--format", help="What all files are, where their names do not say it."),
]
TextField = Annotated[str, typer.Option("--text-field", metavar="NAME", help="The field or column with the text.")]
IdField = Annotated[str, typer.Option("--id-field", metavar="NAME", help="The field or column with the id.")]
MaxDocument = Annotated[
    float,
    typer.Option(
        "--max-document-mb",
        metavar="MB",
        help="A longer line, cell or page cannot be read; a longer text file is cut into several documents.",
    ),
]
Errors = Annotated[
    Literal["stop", "skip"],
    typer.Option("--errors", help="What to do with what cannot be read: stop there, or skip and count it."),
]
WeightList = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="LIST",
        help="How often documents are taken, by source, language or both, as in wiki=2,zh=0.5,web:en=0.1; give it to "
        "the last step that writes documents.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Chooses which documents weights take.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", metavar="N", min=1, help="Processes at once; by default one a core.")
]


def clean(
    inputs: Inputs,
    out: Out,
    languages: Annotated[
        str | None,
        typer.Option("--languages", metavar="LIST", help="Keep only these, as in zh,en,code; by default all."),
    ] = None,
    min_probability: Annotated[
        float, typer.Option("--min-probability", metavar="P", help="Drop texts whose language is less probable.")
    ] = 0.65,
    rules: Annotated[
        str | None, typer.Option("--rules", metavar="LIST", help="Apply only these rules, in their fixed order.")
    ] = None,
    without: Annotated[str | None, typer.Option("--without", metavar="LIST", help="Apply all rules but these.")] = None,
    benchmarks: Annotated[
        list[Path] | None,
        typer.Option(
            "--benchmarks",
            metavar="PATH",
            help="Drop what has a part of these CSV, JSON lines or text files, or of those in a folder; repeatable.",
        ),
    ] = None,
    ngram: Annotated[
        int, typer.Option("--ngram", metavar="N", min=2, help="How many words in a row are a part of a benchmark.")
    ] = 13,
    weights: WeightList = "",
    seed: Seed = 0,
    format: Format = None,
    text_field: TextField = "text",
    id_field: IdField = "id",
    max_document_mb: MaxDocument = 32.0,
    errors: Errors = "stop",
    jobs: Jobs = None,
    as_json: options.Json = False,
) -> None:
    """Keep the documents that are worth training on.

    OUT gets JSON lines in parts and a card: what came in, what each rule dropped with examples, and what was kept.
    Rules, in their order: no-words, damaged-characters, language, program-lines, gopher-repetition, gopher-quality,
    c4, fineweb, benchmarks. Languages are told by py3langid; files that end as programs do are "code".
    """
    from qwen7b.data import RULES, CleaningSettings, Sources, Weights, clean_corpus
    from qwen7b.data.reading import ReadingSettings

    if rules is not None and without is not None:
        raise SettingError("--rules says which rules are applied and --without which are not: give one of them")
    chosen = tuple(RULES)
    if rules is not None:
        names = parse_names("--rules", rules, known=RULES)
        chosen = tuple(name for name in RULES if name in names)
    if without is not None:
        names = parse_names("--without", without, known=RULES)
        chosen = tuple(name for name in RULES if name not in names)
    card = clean_corpus(
        Sources.parsed(
            inputs,
            ReadingSettings(kind=format, text_field=text_field, id_field=id_field, max_document_mb=max_document_mb),
        ),
        out,
        settings=CleaningSettings(
            rules=chosen,
            languages=frozenset(parse_names("--languages", languages) if languages is not None else ()),
            min_probability=min_probability,
            benchmarks=tuple(benchmarks or ()),
            ngram=ngram,
        ),
        weights=Weights.parsed(weights, seed=seed),
        skips=errors == "skip",
        jobs=usable_cores() if jobs is None else jobs,
    )
    show_card(card, out, as_json=as_json)


def show_card(card: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    """Print a card in short, or all of it as JSON."""
    for name in card["settings"].get("weights_without_documents", ()):
        say(f"warning: no document has the source or language {name}, which --weights names")
    if as_json:
        print_json(card)
        return
    before, kept, written = card["before"], card["kept"], card["written"]
    for rule in card["rules"]:
        if rule["documents"] or rule["removed_characters"]:
            removed = f", {rule['removed_characters']:,} characters taken out" if rule["removed_characters"] else ""
            typer.echo(f"{rule['name']:<20} {rule['documents']:>9,} documents dropped{removed}")
    if skipped := sum(card["intake"]["skipped"].values()):
        typer.echo(f"{'not readable':<20} {skipped:>9,} skipped")
    typer.echo(
        f"kept {kept['documents']:,} of {before['documents']:,} documents, {kept['characters']:,} of "
        f"{before['characters']:,} characters; wrote {written['documents']:,} to {out}, see {out / 'card.md'}"
    )
