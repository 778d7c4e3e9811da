"""The line editor of a conversation: history across sessions, and several lines in one message."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout.screen import Char
from prompt_toolkit.output import Output

from qwen7b.system.environment import cache_folder
from qwen7b.system.regular_file import open_to_append
from qwen7b.system.signals import EndedBySignal, ended_by
from qwen7b.terminal.kept_conversations import MAX_BYTES
from qwen7b.terminal.visible import SHOWN

QUOTES = '"""'


def open_session(
    commands: Iterable[str] = (),
    *,
    history: History | None = None,
    input: Input | None = None,
    output: Output | None = None,
) -> PromptSession[str]:
    """Open a line editor: Enter sends; Alt-Enter, a backslash before it, or an open triple quote begin another line."""
    # Typed and pasted text is made visible like printed text; the library does so only for control characters.
    Char.display_mappings.update({chr(code): shown for code, shown in SHOWN.items() if shown and code > 0xFF})
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        elif is_open(buffer.text):
            buffer.insert_text("\n")
        elif not buffer.text.strip():  # perhaps typed during a reply; there is nothing to send
            buffer.reset()
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return PromptSession(
        FormattedText([("bold", "> ")]),
        prompt_continuation="  ",
        multiline=True,
        key_bindings=keys,
        history=history or kept_history(cache_folder() / "chat_history"),
        completer=WordCompleter(list(commands), sentence=True),
        complete_while_typing=False,
        enable_open_in_editor=True,
        tempfile_suffix=".md",
        reserve_space_for_menu=0,
        input=input,
        output=output,
    )


def read_line(session: PromptSession[str], prompt: str | None = None, *, draft: str = "") -> str:
    """Let the user edit a line. What ends the command meanwhile is raised once the editor has left the terminal."""
    signals: list[EndedBySignal] = []

    def leave() -> None:
        if session.app.future is not None and not session.app.future.done():
            session.app.exit(exception=EOFError)

    def end(ended: EndedBySignal) -> None:
        if session.app.loop is None:
            raise ended
        signals.append(ended)
        session.app.loop.call_soon_threadsafe(leave)

    try:
        with ended_by(end):
            return session.prompt(prompt, default=draft)
    finally:
        if signals:
            raise signals[0]


def confirm(session: PromptSession[str], question: str) -> bool:
    """Ask the user a yes-or-no question, and return whether the answer is yes."""
    with suppress(KeyboardInterrupt):
        return ask(session, f"{question} (y/n)").strip().lower() in ("y", "yes", "是", "好")
    return False


def ask(session: PromptSession[str], question: str) -> str:
    """The user's answer to a question, "" for none; Ctrl-C raises."""
    answer_session: PromptSession[str] = PromptSession(input=session.input, output=session.output)
    with suppress(EOFError):
        return read_line(answer_session, f"{question} ")
    return ""


def is_open(text: str) -> bool:
    """Tell whether a message that begins with a triple quote still lacks its closing one."""
    text = text.strip()
    return text.startswith(QUOTES) and (len(text) < 2 * len(QUOTES) or not text.endswith(QUOTES))


def unquoted(text: str) -> str:
    """Remove the triple quotes of a typed message, or the blanks around it."""
    text = text.strip()
    if text.startswith(QUOTES):
        return text.removeprefix(QUOTES).removesuffix(QUOTES).strip("\n")
    return text


class KeptHistory(FileHistory):
    """A history in a file that ignores write errors: a full disk must not cause an error at every line."""

    def store_string(self, string: str) -> None:
        with suppress(OSError, UnicodeError):
            super().store_string(string)


def kept_history(path: Path) -> History:
    """The history in a file that only its owner may read; in memory if the file cannot be written or is too large."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path):
            path.touch(mode=0o600)
        with open_to_append(path) as file:
            return KeptHistory(path) if file.seek(0, os.SEEK_END) <= MAX_BYTES else InMemoryHistory()
    except OSError:
        return InMemoryHistory()
