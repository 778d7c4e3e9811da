"""How long steps take by their number of rows, as measured: the scheduler and speculation decide by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NEW = 0.3
"""The weight of a new measurement in the running mean."""
_FIRST_ROWS = 16
"""The rows of prompts beside decoding requests before their time has been measured."""
_MANY_ROWS = 128
"""With so many rows the fixed cost of a pass hardly counts."""
_FIRST_SHARE = 0.1
"""The share of a step's time that one more row is assumed to add before it has been measured."""
_MEMORY = 500
"""Measurements older than this many steps are forgotten: sequences have grown, or the load has changed."""
_READING_STEPS = 16
"""After so many steps with prompts, one goes without: what decoding takes grows while they are read."""
_COMPARABLE_STEPS = 4
"""So many steps with prompts after one without tell what their rows add to it."""


class Pace:
    """Keeps running means of the seconds of a decoding step, and of those that each row of a prompt adds to it."""

    def __init__(self) -> None:
        self.row_seconds: float | None = None
        self._num_steps = 0
        self._num_reading_steps = 0
        """The steps with prompts since decoding requests alone were measured."""
        self._by_rows: dict[int, tuple[float, int]] = {}
        """Maps a number of rows to the seconds of a decoding step, and to the step that measured it last."""

    def measure(self, seconds: float, *, num_decoding: int, num_read: int) -> None:
        """Take in the seconds of a step with `num_decoding` rows, drafts included, and `num_read` rows of prompts."""
        self._num_steps += 1
        if not num_decoding:
            if num_read >= _MANY_ROWS:
                self.row_seconds = running_mean(self.row_seconds, seconds / num_read)
        elif not num_read:
            self._num_reading_steps = 0
            self._learn(seconds, num_decoding=num_decoding)
        else:
            self._num_reading_steps += 1
            if self._by_rows and self._num_reading_steps <= _COMPARABLE_STEPS:
                added = seconds - self.seconds_of_rows([num_decoding])[0]
                self.row_seconds = running_mean(self.row_seconds, max(added, 0.0) / num_read)

    def _learn(self, seconds: float, *, num_decoding: int) -> None:
        before = self._by_rows.get(num_decoding, (None, 0))[0]
        self._by_rows[num_decoding] = running_mean(before, seconds), self._num_steps
        oldest = self._num_steps - _MEMORY
        self._by_rows = {rows: known for rows, known in self._by_rows.items() if known[1] > oldest}

    def rows_within(self, share: float, *, num_decoding: int) -> int:
        """How many rows of prompts lengthen a decoding step of `num_decoding` rows by this share; at least one.

        None in a step that is to measure what decoding alone takes.
        """
        if self._num_reading_steps >= (_READING_STEPS if self._by_rows else 1):
            return 0
        if not self._by_rows or not self.row_seconds:
            return _FIRST_ROWS
        return max(int(share * self.seconds_of_rows([num_decoding])[0] / self.row_seconds), 1)

    def seconds_of_rows(self, counts: Sequence[int]) -> list[float]:
        """The seconds of decoding steps with these numbers of rows, interpolated and extrapolated from measurements."""
        known = {rows: seconds for rows, (seconds, _) in sorted(self._by_rows.items())} or {1: 1.0}
        rows = list(known)
        # Fewer rows never take longer: where they seem to, the machine was busy.
        seconds = np.minimum.accumulate(list(known.values())[::-1])[::-1].tolist()
        if len(known) == 1:
            slope = seconds[0] * _FIRST_SHARE / (1 + _FIRST_SHARE * (rows[0] - 1))
        else:
            slope = max(seconds[-1] - seconds[0], 0.0) / (rows[-1] - rows[0])
        if (lowest := min(counts)) < rows[0]:
            shortest = max(seconds[0] - slope * (rows[0] - lowest), seconds[0] * lowest / rows[0])
            rows, seconds = [lowest, *rows], [shortest, *seconds]
        if (highest := max(counts)) > rows[-1]:
            rows, seconds = [*rows, highest], [*seconds, seconds[-1] + slope * (highest - rows[-1])]
        return [float(each) for each in np.interp(counts, rows, seconds)]


def running_mean(old: float | None, new: float) -> float:
    """Take a measurement into a running mean."""
    return new if old is None else (1 - _NEW) * old + _NEW * new
