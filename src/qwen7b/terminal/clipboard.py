"""Copies a text to the clipboard, by the system's program for it or by asking the terminal."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from qwen7b.errors import SettingError
from qwen7b.terminal.language import translated as _

MAX_OSC52_BYTES = 74_994
"""The most bytes of text that xterm and similar terminals accept in an OSC 52 sequence.
https://invisible-island.net/xterm/ctlseqs/ctlseqs.html"""


def copy(text: str, terminal: IO[str]) -> str:
    """Copy a text, and return a message that says where it is now. Raises SettingError if nothing can take it.

    A program is tried first, since it reports success. OSC 52 also works through ssh, but a terminal does not answer
    it, and some do not support it.
    """
    for command in _programs():
        if _run(command, text):
            return _("Copied to the clipboard.")
    if not terminal.isatty() or os.environ.get("TERM") in (None, "", "dumb", "linux"):
        raise SettingError(_("there is no clipboard here: /save FILE writes the conversation to a file"))
    if len(text.encode()) > MAX_OSC52_BYTES:
        raise SettingError(_("the reply is longer than a terminal's clipboard takes: /save FILE writes it to a file"))
    payload = base64.b64encode(text.encode()).decode()
    terminal.write(f"\x1b]52;c;{payload}\x07")
    terminal.flush()
    return _("Sent to the terminal's clipboard; a few terminals do not take it.")


def _programs() -> Iterator[list[str]]:
    """The programs that may be available here, the nearest to the user first."""
    if os.environ.get("TMUX"):  # which by default takes no OSC 52 from what runs in it, but sends its own
        yield ["tmux", "load-buffer", "-w", "-"]
    if os.environ.get("SSH_CONNECTION"):  # the clipboard of this machine is not the user's
        return
    if sys.platform == "darwin":
        yield ["pbcopy"]
    if os.name == "nt":
        yield ["clip"]
    if os.environ.get("WAYLAND_DISPLAY"):
        yield ["wl-copy"]
    if os.environ.get("DISPLAY"):
        yield ["xclip", "-selection", "clipboard"]
        yield ["xsel", "--clipboard", "--input"]


def _run(command: list[str], text: str) -> bool:
    program = shutil.which(command[0])
    if program is None:
        return False
    encoding = "utf-16" if command[0] == "clip" else "utf-8"
    with suppress(OSError, subprocess.TimeoutExpired):
        # Some programs keep running to serve the clipboard; they must not hold our streams open.
        result = subprocess.run(
            [program, *command[1:]],
            input=text.encode(encoding),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=5,
        )
        return result.returncode == 0
    return False
