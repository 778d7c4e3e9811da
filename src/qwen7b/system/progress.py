"""The progress of a download or other long work, on standard error: a bar on a terminal, else a line a minute."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def is_first_rank() -> bool:
    """Whether this process may speak: of those that torchrun starts together only the first does."""
    return os.environ.get("RANK", "0") == "0"


def num_ranks() -> int:
    """How many processes torchrun has started together, of which this is one; 1 where it was started alone."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def say(message: str) -> None:
    if is_first_rank():
        print(message, file=sys.stderr, flush=True)


def shown_size(num_bytes: float) -> str:
    """A number of bytes for reading.

    >>> shown_size(491400064), shown_size(144_600_000_000)
    ('491.4 MB', '144.6 GB')
    """
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e10 else f"{num_bytes / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """A time for reading.

    >>> duration(40), duration(200), duration(8000)
    ('40 s', '3 min', '2 h 13 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class MinuteLines:
    """Prints how far long work is and how long it will take, a line a minute: for logs, which a bar would fill."""

    def __init__(self, what: str, *, total: int, unit: str, done: int, clock: Callable[[], float]) -> None:
        self._what = what
        self._total = total
        self._unit = unit
        self._initial = self._done = done
        self._clock = clock
        self._start = self._last_line = clock()

    def add(self, count: int) -> None:
        """Count what was done since the last call."""
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """Set how much is done by now."""
        self._done, now = done, self._clock()
        if now - self._last_line < 60 or done <= self._initial:
            return
        self._last_line = now
        left = (now - self._start) / (done - self._initial) * max(self._total - done, 0)
        share = done / self._total if self._total else 1
        if self._unit == "B":
            position = f"{shown_size(done)} of {shown_size(self._total)}"
        else:
            position = f"{done:,} of {self._total:,}{self._unit}"
        # The first of many results come late, where others are begun beside them: they do not tell the pace.
        estimate = f", about {duration(left)} left" if done - self._initial >= self._total / 100 else ""
        say(f"{self._what}: {position} ({share:.0%}){estimate}.")


@contextmanager
def progress_bar(
    what: str, *, total: int, done: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of bytes fetched so far; `done` of `total` were fetched before."""
    if not (sys.stderr.isatty() and is_first_rank()):
        resumed = f", {shown_size(done)} of it already here" if done else ""
        say(f"Fetching {what} ({shown_size(total)}{resumed}).")
        start = clock()
        yield MinuteLines(f"Fetching {what}", total=total, unit="B", done=done, clock=clock).reach
        say(f"Fetched {what} in {clock() - start:.0f} s.")
        return
    from tqdm import tqdm

    with tqdm(desc=f"Fetching {what}", total=total, initial=done, unit="B", unit_scale=True, dynamic_ncols=True) as bar:

        def report(position: int) -> None:
            bar.update(position - bar.n)

        yield report


@contextmanager
def progress(
    what: str, total: int, unit: str, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the amount done since its last call; `unit` is "B" for bytes."""
    say(f"{what} ({shown_size(total)})." if unit == "B" else f"{what}.")
    if not (sys.stderr.isatty() and is_first_rank()):
        yield MinuteLines(what, total=total, unit=unit, done=0, clock=clock).add
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, unit_scale=True, dynamic_ncols=True, leave=False) as bar:

        def add(count: int) -> None:
            bar.update(count)

        yield add
