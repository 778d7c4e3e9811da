"""The options of the verbs that measure a model in several ways, and the parsing of their comma-separated lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from qwen7b.cli import options
from qwen7b.config.checked import whole_number
from qwen7b.errors import SettingError
from qwen7b.packed.formats import FORMATS
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from qwen7b.evals import Subject

T = TypeVar("T", bound="DataclassInstance")

PRECISIONS = ("none", *FORMATS)

Methods = Annotated[
    str,
    typer.Option(
        "--methods",
        metavar="LIST",
        help="Ways past the trained length to compare: none,ntk,ntk+logn,ntk+logn+window,yarn:4.",
    ),
]
TrainedLength = Annotated[
    int | None,
    typer.Option("--trained-length", metavar="L", min=1, help="What methods take for the model's trained length."),
]
Precisions = Annotated[
    str, typer.Option("--quantize", metavar="LIST", help=f"Weight formats to compare: {','.join(PRECISIONS)}.")
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw the results: a .png, .svg or .pdf; needs the extra eval."),
]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="FILE", help="Save results here as they come; saved ones are not measured again."),
]


def open_subject(
    model: str,
    *,
    quantize: str,
    methods: str,
    lengths: Sequence[int],
    trained_length: int | None,
    dtype: options.Precision | None,
    device: str,
    threads: int | None,
    offline: bool,
    plot: Path | None,
) -> Subject:
    """Open the model to be measured, after checking that all the options make sense."""
    options.set_threads(threads)
    precisions = parse_names("--quantize", quantize, known=PRECISIONS)
    from qwen7b.evals import Subject
    from qwen7b.system.figure import check_plot

    if plot is not None:
        check_plot(plot)
    return Subject(
        model,
        precisions=precisions,
        methods=parse_names("--methods", methods),
        lengths=lengths,
        trained_length=trained_length,
        dtype=None if dtype is None else dtype.value,
        device=device,
        offline=offline or None,
    )


def report(results: Iterable[T], line: Callable[[T], str], *, as_json: bool) -> list[T]:
    """Print a line for each result as it comes, or one JSON document at the end; return all results."""
    from tqdm import tqdm

    collected = []
    for result in results:
        collected.append(result)
        if not as_json:
            tqdm.write(line(result))  # does not break a progress bar
    if as_json:
        print_json([asdict(result) for result in collected])
    return collected


def parse_names(flag: str, text: str, *, known: Sequence[str] = ()) -> list[str]:
    """Split a comma-separated list of names; with `known` others are refused.

    >>> parse_names("--methods", "none, ntk")
    ['none', 'ntk']
    """
    names = [name.strip() for name in text.split(",")]
    if known and (unknown := [name for name in names if name not in known]):
        raise SettingError(f"{flag} takes one or more of {', '.join(known)}, separated by commas, found {unknown[0]!r}")
    return names


def parse_numbers(flag: str, text: str, *, minimum: int, maximum: int | None = None) -> list[int]:
    """Split a comma-separated list of whole numbers within a range.

    >>> parse_numbers("--lengths", "1024,2048", minimum=2)
    [1024, 2048]
    """
    numbers = []
    for part in text.split(","):
        try:
            numbers.append(whole_number(flag, int(part), minimum=minimum, maximum=maximum))
        except ValueError:  # a SettingError is one too
            span = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise SettingError(f"{flag} takes a comma-separated list of whole numbers {span}, found {part!r}") from None
    return numbers
