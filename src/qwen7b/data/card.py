"""The card of a corpus: what came in, what went out and why, as JSON values and as a page of Markdown."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from qwen7b.data.card_plots import plot_card
from qwen7b.data.intake import Intake
from qwen7b.data.json_parts import CARD_JSON, CARD_PAGE
from qwen7b.data.tally import Amount, Group, Tally, total
from qwen7b.system.whole_file import write_text_whole


def card_of(
    *,
    verb: str,
    sources: Sequence[Mapping[str, str]],
    settings: Mapping[str, Any],
    intake: Intake,
    tally: Tally,
    written: Tally,
    rules: Mapping[str, str],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """The card as JSON values. `written` counts what the parts have, after sampling; `rules` has their origins."""
    return {
        "verb": verb,
        "qwen7b": version("qwen7b"),
        "sources": list(sources),
        "settings": dict(settings),
        "intake": {
            "files": dict(sorted(intake.files.items())),
            "empty_files": intake.empty_files,
            "pages_without_text": intake.pages_without_text,
            "other_files": dict(sorted(intake.other_files.items())),
            "documents": intake.documents,
            "characters": intake.characters,
            "skipped": dict(sorted(intake.skipped.items())),
            "problems": intake.problems,
        },
        "before": _amounts(tally.before),
        "kept": _amounts(tally.after),
        "written": _amounts(written.after),
        "rules": [_rule(name, origin, tally) for name, origin in rules.items()],
        "lengths": {
            "before": {str(digits): count for digits, count in sorted(tally.lengths_before.items())},
            "kept": {str(digits): count for digits, count in sorted(tally.lengths_after.items())},
        },
        **more,
    }


def write_card(card: Mapping[str, Any], folder: Path) -> None:
    """Write card.json, card.md and its plots."""
    write_text_whole(folder / CARD_JSON, json.dumps(card, ensure_ascii=False, indent=1) + "\n")
    plots = plot_card(card, folder)
    write_text_whole(folder / CARD_PAGE, card_page(card, plots=plots))


def card_page(card: Mapping[str, Any], *, plots: Sequence[str] = ()) -> str:
    """The card in Markdown; `plots` are files beside it."""
    before, kept, written = card["before"], card["kept"], card["written"]
    lines = [
        f"# Data card: {', '.join(source['name'] for source in card['sources'])}",
        f"Written by `qwen7b data {card['verb']}` ({card['qwen7b']}).",
        f"Of {before['documents']:,} documents with {before['characters']:,} characters, {kept['documents']:,} with "
        f"{kept['characters']:,} were kept ({_share(kept['characters'], before['characters'])} of the characters); "
        f"{written['documents']:,} were written.",
        *(f"![{Path(name).stem}]({name})" for name in plots),
        "## What came in",
        _table(("source", "path"), [(source["name"], f"`{source['path']}`") for source in card["sources"]]),
        _intake_text(card["intake"]),
        "## What was dropped, and why",
        _table(
            ("rule", "reason", "documents", "characters", "share of characters"),
            [
                (
                    rule["name"],
                    _plain(reason["reason"]),
                    f"{reason['documents']:,}",
                    f"{reason['characters']:,}",
                    _share(reason["characters"], before["characters"]),
                )
                for rule in card["rules"]
                for reason in rule["reasons"]
            ],
        )
        or "Nothing.",
    ]
    taken = [(rule["name"], f"{rule['removed_characters']:,}") for rule in card["rules"] if rule["removed_characters"]]
    if taken:
        lines += ["Taken out of documents that were kept:", _table(("rule", "characters"), taken)]
    for title, key in (("source", "by_source"), ("language", "by_language")):
        lines += [f"## By {title}", _group_table(title, before[key], kept[key], written[key])]
    lines += ["## Examples of what was dropped", *_examples(card["rules"])]
    lines += ["## Rules", _table(("rule", "origin"), [(rule["name"], rule["origin"]) for rule in card["rules"]])]
    lines += ["## Settings", f"```json\n{json.dumps(card['settings'], ensure_ascii=False, indent=1)}\n```"]
    return "\n\n".join(filter(None, lines)) + "\n"


def _amounts(amounts: defaultdict[Group, Amount]) -> dict[str, Any]:
    sources: defaultdict[str, Amount] = defaultdict(Amount)
    languages: defaultdict[str, Amount] = defaultdict(Amount)
    for (source, language), amount in amounts.items():
        sources[source].join(amount)
        languages[language or "unknown"].join(amount)
    return {
        **asdict(total(amounts)),
        "by_source": {name: asdict(amount) for name, amount in sorted(sources.items())},
        "by_language": {
            name: asdict(amount) for name, amount in sorted(languages.items(), key=lambda pair: -pair[1].characters)
        },
    }


def _rule(name: str, origin: str, tally: Tally) -> dict[str, Any]:
    reasons = [
        {
            "reason": reason,
            **asdict(dropped.amount),
            "examples": [
                {key: value for key, value in asdict(example).items() if key != "rank"} for example in dropped.examples
            ],
        }
        for (rule, reason), dropped in sorted(tally.dropped.items(), key=lambda pair: -pair[1].amount.characters)
        if rule == name
    ]
    return {
        "name": name,
        "origin": origin,
        "documents": sum(reason["documents"] for reason in reasons),
        "characters": sum(reason["characters"] for reason in reasons),
        "removed_characters": tally.removed[name],
        "by_language": {
            language: asdict(amount)
            for (rule, language), amount in sorted(tally.dropped_groups.items())
            if rule == name
        },
        "reasons": reasons,
    }


def _intake_text(intake: Mapping[str, Any]) -> str:
    files = ", ".join(f"{count:,} {kind}" for kind, count in intake["files"].items()) or "none"
    text = f"Files read: {files}; {intake['empty_files']:,} of them empty, "
    text += f"{intake['pages_without_text']:,} pages without main text."
    if intake["other_files"]:
        others = ", ".join(f"{count:,} {ending}" for ending, count in intake["other_files"].items())
        text += f" Left alone, as their names end otherwise: {others}."
    if intake["skipped"]:
        skipped = ", ".join(f"{problem} {count:,}" for problem, count in intake["skipped"].items())
        problems = "\n".join(f"- {_plain(problem)}" for problem in intake["problems"])
        text += f"\n\nWhat could not be read was skipped ({skipped}). The first of it:\n\n{problems}"
    return text


def _group_table(title: str, before: Mapping[str, Any], kept: Mapping[str, Any], written: Mapping[str, Any]) -> str:
    none = {"documents": 0, "characters": 0}
    rows = []
    for name, amount in before.items():
        left, out = kept.get(name, none), written.get(name, none)
        share = _share(left["characters"], amount["characters"])
        counts = (amount["documents"], left["documents"], amount["characters"], left["characters"])
        rows.append((_plain(name), *(f"{count:,}" for count in counts), share, f"{out['characters']:,}"))
    heads = (title, "documents", "kept", "characters", "kept", "share", "written")
    return _table(heads, rows)


def _examples(rules: Iterable[Mapping[str, Any]]) -> list[str]:
    texts = []
    for rule in rules:
        for reason in rule["reasons"]:
            items = [
                f"- `{_code(example['id'])}` ({example['language']}, {example['characters']:,} characters"
                f"{', ' + _plain(example['note']) if example['note'] else ''}): `{_code(example['excerpt'])}`"
                for example in reason["examples"]
            ]
            texts.append(f"**{rule['name']}: {_plain(reason['reason'])}**\n\n" + "\n".join(items))
    return texts or ["None."]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *body])


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _plain(text: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>#|" else character for character in text)


def _code(text: str) -> str:
    """A text within backquotes."""
    return text.replace("`", "'").replace("|", "¦") or " "
