"""How long rows take, as measured: what the scheduler divides a step's time by."""

from __future__ import annotations

_NEW = 0.3
"""The weight of a new measurement in the running mean."""
_FIRST_ROWS = 16
"""Rows read beside decoding requests before it is known how long they take there."""


class Pace:
    """Running means of the seconds that a decoding step takes, and of those that each row read beside it adds."""

    def __init__(self) -> None:
        self.decode_seconds: float | None = None
        self.row_seconds: float | None = None

    def measure(self, seconds: float, *, num_decoding: int, num_read: int) -> None:
        """Take in what a step of so many decoding requests and so many rows of prompts took."""
        if not num_read:
            self.decode_seconds = _mean(self.decode_seconds, seconds)
        elif num_decoding and self.decode_seconds is not None:
            self.row_seconds = _mean(self.row_seconds, max(seconds - self.decode_seconds, 0.0) / num_read)

    def rows_within(self, share: float) -> int:
        """The rows of prompts that add this share of a decoding step's time; at least one."""
        if self.decode_seconds is None or not self.row_seconds:
            return _FIRST_ROWS
        return max(int(share * self.decode_seconds / self.row_seconds), 1)


def _mean(old: float | None, new: float) -> float:
    return new if old is None else (1 - _NEW) * old + _NEW * new
