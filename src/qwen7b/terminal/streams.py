"""The standard streams: usable however the command was started, honest about lost output, safe for a terminal."""

from __future__ import annotations

import codecs
import json
import os
import sys
from typing import Any, TextIO, cast

import typer

from qwen7b.terminal.visible import VisibleStream


class LostOutputError(OSError):
    """Writing to standard output failed."""


def open_standard_streams() -> None:
    """Give every standard stream a file, UTF-8 and this module's checks; called once, when the process starts."""
    _occupy_closed_descriptors()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    codecs.register_error("qwen7b.bytes", _encode_surrogate)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(encoding="utf-8", errors="qwen7b.bytes")  # whatever the locale is
    sys.stdout = _filtered(OutputStream(sys.stdout))
    sys.stderr = _filtered(MessageStream(sys.stderr))


def is_open_for(stream: TextIO, access_mode: int) -> bool:
    """Tell whether a stream was opened for reading (os.O_RDONLY) or writing (os.O_WRONLY), or for both."""
    try:
        import fcntl

        return fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE in (access_mode, os.O_RDWR)
    except (ImportError, OSError):  # not on Windows; no file behind it
        return True


def print_json(document: object) -> None:
    """Print one document on standard output, as valid UTF-8 and JSON even if a name in it is not UTF-8."""
    text = json.dumps(document, ensure_ascii=False)
    typer.echo(text.encode("utf-8", "backslashreplace").decode())  # a surrogate as \udc9b, which is JSON for it


def _occupy_closed_descriptors() -> None:
    """Open a file that fails like a closed stream for each standard descriptor that is free.

    Otherwise the next opened file would get that descriptor, and with it what native libraries write to standard error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)  # gets the lowest number that is free


def _encode_surrogate(error: UnicodeError) -> tuple[bytes, int]:
    """Write the bytes of a name that is not UTF-8 unchanged, and any other surrogate as an escape like \\ud800."""
    assert isinstance(error, UnicodeEncodeError)
    surrogate = error.object[error.start]
    try:
        return surrogate.encode("utf-8", "surrogateescape"), error.start + 1
    except UnicodeEncodeError:
        return surrogate.encode("utf-8", "backslashreplace"), error.start + 1


def _filtered(stream: OutputStream) -> TextIO:
    return cast(TextIO, VisibleStream(cast(TextIO, stream)) if stream.isatty() else stream)


class OutputStream:
    """Standard output: a failed write raises LostOutputError, and the process can still end normally."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failure: OSError | None = None
        self._wrapped = stream  # see VisibleStream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if self._failure is not None:
            self._handle_failure(self._failure)
        elif text != "":  # typer probes a stream with "" and ignores the result
            try:
                self._stream.write(text)
            except OSError as error:
                self._handle_failure(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._handle_failure(error)

    def _handle_failure(self, error: OSError) -> None:
        if self._failure is None:
            self._failure = error
            self._discard_output()
        raise LostOutputError(error.errno, error.strerror) from error

    def _discard_output(self) -> None:
        """Discard the buffer and everything after it, since Python flushes once more at exit."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class MessageStream(OutputStream):
    """Standard error: a message that cannot be written is dropped, since that is no reason to stop."""

    def _handle_failure(self, error: OSError) -> None:
        if self._failure is None:
            self._failure = error
            self._discard_output()
