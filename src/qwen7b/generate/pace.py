"""How long rows take, as measured: what the scheduler divides a step's time by, and what a draft has to be worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NEW = 0.3
"""The weight of a new measurement in the running mean."""
_FIRST_ROWS = 16
"""Rows read beside decoding requests before it is known how long they take there."""
_MANY_ROWS = 128
"""With so many rows, what a pass takes besides them hardly counts."""
_FIRST_SHARE = 0.1
"""The share of a step's time that one row more is taken to add, before it is known."""
_MEMORY = 500
"""Decoding steps after which a number of rows that did not come again is unknown: the sequences are longer by then, or
the machine is less busy."""


class Pace:
    """Running means of the seconds that a decoding step takes, and of those that each row read beside it adds."""

    def __init__(self) -> None:
        self.row_seconds: float | None = None
        self._fixed_seconds: float | None = None
        """What a step takes besides its rows, estimated where no step of decoding requests alone was measured yet."""
        self._num_steps = 0
        self._by_rows: dict[int, tuple[float, int]] = {}
        """The seconds of a decoding step with so many rows, and when it was measured last."""

    def measure(self, seconds: float, *, num_decoding: int, num_read: int) -> None:
        """Take in what a step took of so many rows of decoding requests, drafts among them, and so many of prompts."""
        if not num_decoding:
            if num_read >= _MANY_ROWS:
                self.row_seconds = running_mean(self.row_seconds, seconds / num_read)
        elif not num_read:
            self._num_steps += 1
            before = self._by_rows.get(num_decoding, (None, 0))[0]
            self._by_rows[num_decoding] = running_mean(before, seconds), self._num_steps
            oldest = self._num_steps - _MEMORY
            self._by_rows = {rows: known for rows, known in self._by_rows.items() if known[1] > oldest}
        elif self._by_rows:
            expected = self.seconds_of_rows([num_decoding])[0]
            self.row_seconds = running_mean(self.row_seconds, max(seconds - expected, 0.0) / num_read)
        elif self.row_seconds is not None:
            fixed = max(seconds - (num_decoding + num_read) * self.row_seconds, 0.0)
            self._fixed_seconds = running_mean(self._fixed_seconds, fixed)

    def rows_within(self, share: float, *, num_decoding: int) -> int:
        """The rows of prompts that add this share to the time of a decoding step of so many rows; at least one."""
        if not self.row_seconds:
            return _FIRST_ROWS
        if self._by_rows:
            seconds = self.seconds_of_rows([num_decoding])[0]
        elif self._fixed_seconds is not None:
            seconds = self._fixed_seconds + num_decoding * self.row_seconds
        else:
            return _FIRST_ROWS
        return max(int(share * seconds / self.row_seconds), 1)

    def seconds_of_rows(self, counts: Sequence[int]) -> list[float]:
        """What a decoding step of each of these numbers of rows takes: drawn through what is known, and beyond it."""
        known = {rows: seconds for rows, (seconds, _) in sorted(self._by_rows.items())} or {1: 1.0}
        rows = list(known)
        # Fewer rows never take longer: where they seem to, the machine was busy when they were measured.
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
