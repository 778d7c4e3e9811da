"""One file from an address, continued where an earlier download stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from qwen7b.errors import DownloadError
from qwen7b.system.storage import size_of

STALL_SECONDS = 15.0
"""Seconds after which a download that receives nothing is given up."""

Begin: TypeAlias = Callable[[int | None], Callable[[int], None]]
"""Is given the file's size, None where the server does not say it; returns what is given the bytes so far."""


def continue_stream(url: str, partial: Path, *, begin: Begin, size: int | None = None) -> None:
    """Complete `partial`, asking again as long as anything arrives. Raises DownloadError."""
    while size is None or size_of(partial) < size:
        size_before = size_of(partial)
        reason: Exception = EOFError("the server sent nothing more")
        try:
            told = _stream(url, partial, begin=begin)
            if size is None:
                size = size_of(partial) if told is None else told
                continue
        except Exception as error:
            if is_local(error):
                raise
            reason = error
        if size_of(partial) <= size_before:  # while anything arrives, it is worth asking for the rest
            host = urlsplit(url)
            raise DownloadError(
                f"{host.scheme}://{host.netloc} broke off the download ({reason_of(reason)})"
            ) from reason


def _stream(url: str, partial: Path, *, begin: Begin) -> int | None:
    """Append to `partial` what one connection delivers, and return the size of the whole file, where it is told."""
    from huggingface_hub import get_session

    done = size_of(partial)
    headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"}
    with get_session().stream("GET", url, headers=headers, timeout=STALL_SECONDS) as response:
        if response.status_code == 416 and done:  # the file ends before the part that is here: it is another one
            partial.unlink()
            return _stream(url, partial, begin=begin)
        response.raise_for_status()
        resumed = response.status_code == 206
        length = response.headers.get("Content-Length")
        size = None if length is None else int(length) + (done if resumed else 0)
        report = begin(size)
        with partial.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                report(file.tell())
    return size


def is_local(error: BaseException) -> bool:
    """Whether an error is about a local file: here network errors carry no errno."""
    return isinstance(error, OSError) and error.errno is not None


def reason_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
