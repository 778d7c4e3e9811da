"""The option --response-format, which `chat` and `complete` take: a file that says what a reply must look like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer

from qwen7b.errors import SettingError
from qwen7b.system.json_file import MAX_BYTES
from qwen7b.system.regular_file import read_whole

ResponseFormatFile = Annotated[
    str | None,
    typer.Option(
        "--response-format",
        metavar="FILE",
        help="Hold replies to what this file of JSON says: a JSON schema, or a response_format of OpenAI's API.",
    ),
]


class ResponseKeyword(TypedDict, total=False):
    response_format: dict[str, Any]


def read_response_option(file: str | None) -> ResponseKeyword:
    """The keyword that the file holds, if any is given. Raises SettingError, before a model is loaded."""
    if file is None:
        return {}
    from qwen7b.generate.response_format import read_response_format

    try:
        value = json.loads(read_whole(Path(file), limit=MAX_BYTES))
    except OSError as error:
        raise SettingError(f"--response-format {file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SettingError(f"--response-format {file} is not valid JSON ({error}): correct it") from error
    read_response_format(value)
    return {"response_format": value}
