"""Conversations as files: those that the user saves, and those that are saved automatically after every turn."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from qwen7b.errors import PromptError, SettingError
from qwen7b.system.environment import cache_folder
from qwen7b.system.json_file import parse_json
from qwen7b.system.regular_file import read_text
from qwen7b.system.whole_file import PART_SUFFIX, write_text_whole
from qwen7b.terminal.language import translated as _
from qwen7b.text import messages as conversation_messages
from qwen7b.text.normalization import without_surrogates

Messages = list[dict[str, Any]]

MAX_KEPT = 100
"""The number of conversations that are kept; the oldest are deleted first."""
_LONG_AGO = 3600.0
"""The age in seconds at which an unfinished file counts as abandoned."""
MAX_BYTES = 64 << 20
"""The size limit of a conversation's file: more than any model reads."""


def kept_folder() -> Path:
    return cache_folder() / "conversations"


class KeptConversation:
    """The file of one conversation in the folder of kept ones; it is created with the first turn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None

    def next_file(self) -> KeptConversation:
        """The file for the next conversation in the same folder."""
        return KeptConversation(self.folder)

    def remove(self) -> None:
        """Remove the file, of a conversation that was taken back. Raises SettingError if that fails."""
        if self.path is not None:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise SettingError(_unwritable(self.path, error)) from error

    def write(self, messages: Messages, *, model: str) -> None:
        """Write the conversation. Raises SettingError if that fails."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(_unwritable(self.folder, error)) from error
        if self.path is None:
            started = time.strftime("%Y-%m-%d-%H%M%S")
            self.path = self.folder / f"{started}-{os.getpid()}-{time.monotonic_ns() % 10**6:06}.json"
            for old in [*_newest_first(self.folder)[MAX_KEPT - 1 :], *_abandoned_files(self.folder)]:
                with suppress(OSError):  # another process may have removed it
                    old.unlink()
        write_messages(self.path, messages, model=model)


def read_latest(folder: Path) -> tuple[Messages, str | None]:
    """The conversation that was saved last, and the name of its model. Raises PromptError if there is none."""
    newest = _newest_first(folder)
    if not newest:
        raise PromptError(_("no earlier conversation is kept in {folder}: begin one").format(folder=folder))
    try:
        return read_messages(newest[0]), read_model(newest[0])
    except PromptError as error:
        raise PromptError(
            _("the last conversation cannot be continued: {error}, or remove it to continue the one before").format(
                error=error
            )
        ) from error


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"), key=_time, reverse=True)


def _abandoned_files(folder: Path) -> Iterator[Path]:
    """The unfinished files of processes that were killed."""
    return (path for path in folder.glob(f".*{PART_SUFFIX}") if time.time() - _time(path) / 1e9 > _LONG_AGO)


def _time(path: Path) -> int:
    """The time of a file's last change, in nanoseconds; of a symbolic link, the link's own."""
    try:
        return path.lstat().st_mtime_ns
    except OSError:  # gone meanwhile
        return 0


def write_messages(path: Path, messages: Messages, *, model: str | None = None) -> None:
    """Write a JSON list of the messages, or with a model an object of both. Raises SettingError if that fails."""
    document = messages if model is None else {"model": model, "messages": messages}
    try:
        write_text_whole(path, json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    except (OSError, ValueError) as error:
        raise SettingError(_unwritable(path, error)) from error


def _unwritable(path: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else error
    return _("{path} cannot be written ({reason}): choose another place").format(path=path, reason=reason)


def read_messages(path: Path) -> Messages:
    """Read the messages of a JSON file. Raises PromptError where it cannot be read or holds something else."""
    document = _read(path)
    messages = document["messages"] if isinstance(document, dict) and "messages" in document else document
    if not isinstance(messages, list) or not _are_messages(messages):
        raise PromptError(
            _('{path} must hold a JSON list of {{"role": …, "content": …}}: give a file written by /save').format(
                path=path
            )
        )
    if any(message["role"] == "system" for message in messages[1:]):
        raise PromptError(_("{path} has a system message that is not the first: join them into one").format(path=path))
    return messages


def read_model(path: Path) -> str | None:
    """The name of the model that a kept conversation was held with."""
    document = _read(path)
    model = document.get("model") if isinstance(document, dict) else None
    return model if isinstance(model, str) else None


def _read(path: Path) -> object:
    text = read_file(path)
    try:
        return json.loads(without_surrogates(json.dumps(parse_json(text.encode()), ensure_ascii=False)))
    except (ValueError, RecursionError) as error:
        raise PromptError(
            _("{path} is not JSON ({error}): give a file written by /save").format(path=path, error=error)
        ) from error


def read_file(path: Path) -> str:
    """The text of a regular file in UTF-8, without a byte-order mark. Raises PromptError if it cannot be read."""
    try:
        return read_text(path, limit=MAX_BYTES)
    except UnicodeDecodeError as error:
        raise PromptError(
            _("{path} is not UTF-8 (byte {place} is 0x{byte:02x}): convert it first").format(
                path=path, place=error.start, byte=error.object[error.start]
            )
        ) from error
    except OSError as error:
        raise PromptError(
            _("{path} cannot be read ({reason}): check the name").format(path=path, reason=error.strerror or error)
        ) from error


def _are_messages(values: list[object]) -> bool:
    """Whether each is a message with a text; calls of tools and their results may be among them."""
    if not all(isinstance(value, dict) and isinstance(value.get("content"), str) for value in values):
        return False
    with suppress(PromptError):
        conversation_messages.read_messages(cast("list[conversation_messages.Message]", values))
        return True
    return False
