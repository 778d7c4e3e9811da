"""What a user sees of a download or other long work, on standard error: a bar on a terminal, else a line or two."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def megabytes(count: int) -> str:
    """
    >>> megabytes(491400064)
    '491.4 MB'
    """
    return f"{count / 1e6:,.1f} MB"


@contextmanager
def progress_bar(what: str, *, total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the bytes there are so far; `done` of `total` are there already."""
    if not sys.stderr.isatty():
        resumed = f", {megabytes(done)} of it already here" if done else ""
        say(f"Fetching {what} ({megabytes(total)}{resumed}).")
        start = time.monotonic()
        yield lambda position: None
        say(f"Fetched {what} in {time.monotonic() - start:.0f} s.")
        return
    from tqdm import tqdm

    with tqdm(desc=f"Fetching {what}", total=total, initial=done, unit="B", unit_scale=True, dynamic_ncols=True) as bar:

        def report(position: int) -> None:
            bar.update(position - bar.n)

        yield report


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with what is done since its last call; `unit` is "B" for bytes."""
    from tqdm import tqdm

    say(f"{what} ({megabytes(total)})." if unit == "B" else f"{what}.")
    with tqdm(total=total, unit=unit, unit_scale=True, dynamic_ncols=True, leave=False, disable=None) as bar:
        yield lambda count: None if bar.update(count) else None
