"""Cleans documents: finds their languages, applies the rules in order, and counts what each drops and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qwen7b.config.checked import whole_number
from qwen7b.data.contamination import NGRAM, NoBenchmarks, index_benchmarks
from qwen7b.data.document import CODE, Document
from qwen7b.data.language import identify_language
from qwen7b.data.own_rules import DamagedCharacters, NoWords, ProgramLines, WantedLanguages
from qwen7b.data.rules import QualityRule
from qwen7b.data.tally import Tally
from qwen7b.errors import MissingExtraError, SettingError

RULES = (
    "no-words",
    "damaged-characters",
    "language",
    "program-lines",
    "gopher-repetition",
    "gopher-quality",
    "c4",
    "fineweb",
)
"""The rules in the order in which they look at a document; the one of benchmarks comes last."""
_MAX_REASON = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class CleaningSettings:
    """Which rules are applied, and how."""

    rules: tuple[str, ...] = RULES
    languages: frozenset[str] = frozenset()
    """The languages to keep; none means all."""
    min_probability: float = 0.65
    """What a document's language must have at least."""
    benchmarks: tuple[Path, ...] = ()
    """Files and folders of benchmarks that no document may have a part of."""
    ngram: int = NGRAM
    """How many words in a row are a part of a benchmark."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.rules if name not in RULES]:
            raise SettingError(f"no rule is called {unknown[0]!r}: choose among {', '.join(RULES)}")
        if self.languages and "language" not in self.rules:
            raise SettingError(
                "languages are chosen by the rule language, which is switched off: keep it, or drop them"
            )
        whole_number("ngram", self.ngram, minimum=2)


@dataclass(slots=True)
class Cleaner:
    """The rules, made once, and the counts of what they did."""

    rules: Sequence[QualityRule]
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def made(cls, settings: CleaningSettings) -> Cleaner:
        """A cleaner by these settings. Raises SettingError and PromptError as its rules do."""
        rules: list[QualityRule] = [NoWords(), DamagedCharacters()]
        rules.append(WantedLanguages(languages=settings.languages, min_probability=settings.min_probability))
        rules.append(ProgramLines())
        try:
            from qwen7b.data.published_rules import published_rules
        except ImportError as error:
            raise MissingExtraError("datatrove", extra="train") from error
        rules += published_rules()
        assert tuple(rule.name for rule in rules) == RULES
        rules = [rule for rule in rules if rule.name in settings.rules]
        if settings.benchmarks:
            rules.append(NoBenchmarks(index_benchmarks(settings.benchmarks, n=settings.ngram)))
        return cls(rules)

    def clean(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that all rules keep, with their languages; rules may have taken part of their texts out."""
        for document in documents:
            if (cleaned := self.cleaned(document)) is not None:
                yield cleaned

    def cleaned(self, document: Document) -> Document | None:
        """The document as the rules leave it; None where one drops it."""
        document = with_language(document)
        self.tally.came_in(document)
        for rule in self.rules:
            ruling = rule.rule_on(document)
            if ruling.reason:
                reason, _, note = ruling.reason.partition(": ")
                self.tally.was_dropped(document, rule.name, reason[:_MAX_REASON], note)
                return None
            if ruling.text is not None:
                self.tally.removed[rule.name] += len(document.text) - len(ruling.text)
                document = replace(document, text=ruling.text)
        self.tally.was_kept(document)
        return document


def with_language(document: Document) -> Document:
    """The document with its language in the metadata, and how probable it is.

    What was found out before, and that it is a program, stays; what else its file says of its language is kept as
    `original_language`, as names of languages differ from corpus to corpus.
    """
    if document.language == CODE or "language_probability" in document.metadata:
        return document
    language, probability = identify_language(document.text)
    metadata = {**document.metadata, "language": language, "language_probability": probability}
    if "language" in document.metadata:
        metadata["original_language"] = document.metadata["language"]
    return replace(document, metadata=metadata)
