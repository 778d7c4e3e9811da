"""The option `--adapter` of `chat` and `complete`: one for the weights, or several beside them by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from qwen7b.errors import SettingError

Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="[NAME=]FOLDER",
        help="Add a LoRA adapter in PEFT's format, as qwen7b train sft --lora writes it: its folder, or the run's. "
        "With names several stay beside the weights (repeatable): the first replies, unless a line of --input names "
        'another as its "adapter", or /adapter does in a conversation.',
    ),
]


def read_adapters(given: Sequence[str] | None) -> tuple[str | None, dict[str, str]]:
    """The adapter that is to be added to the weights, and those that stay beside them by name.

    What names a folder as a whole is one, even with "=" in it. Raises SettingError where several are not all named.
    """
    alone, named = list[str](), dict[str, str]()
    for each in given or ():
        name, equals, path = each.partition("=")
        if not equals or os.path.exists(os.path.expanduser(each)):
            alone.append(each)
        elif named.setdefault(name, path) != path:
            raise SettingError(f"--adapter names two {name}: give another name to one of them")
    if len(alone) + bool(named) > 1:
        raise SettingError(f"--adapter {alone[0]} has no name: with several give each one, as in a={alone[0]}")
    return (alone[0] if alone else None), named
