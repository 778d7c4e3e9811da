"""How fast a run goes: tokens a second, the share of what the machine could do, and the time that is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from qwen7b.config import ModelConfig
from qwen7b.model import Transformer
from qwen7b.system.progress import duration, say
from qwen7b.train.run_log import StepRecord

_SECONDS_BETWEEN_LINES = 10.0


def operations_per_token(config: ModelConfig, *, length: int) -> int:
    """The multiplications and additions that training takes for a token of a sequence.

    Two for each weight of a product in the forward, and twice as many in the backward; attention to half of the other
    positions on average, for scores and for the mix. What is computed again is no progress and does not count.
    """
    width, inner = config.hidden_size, config.num_heads * config.head_size
    keys = config.num_kv_heads * config.head_size
    layer = width * (inner + 2 * keys) + inner * width + 3 * width * config.feed_forward_size
    weights = config.num_layers * layer + config.vocab_rows * width
    return 6 * weights + 6 * config.num_layers * inner * length


class RunPace:
    """Says how a run goes, on standard error, and keeps each step's time in a file."""

    def __init__(
        self, path: Path, model: Transformer, *, peak: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`peak` is the most operations a second, where that is known."""
        self._file = path.open("ab")
        self._config, self._peak, self._clock = model.config, peak, clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def start(self, *, done: int, total: int) -> None:
        self._first, self._total = done, total
        self._started = self._last_step = self._last_line = self._clock()

    def add(self, record: StepRecord, *, length: float) -> None:
        """Count a step whose sequences had `length` tokens on average."""
        now = self._clock()
        seconds, self._last_step = now - self._last_step, now
        rate = record.tokens / max(seconds, 1e-9)
        share = (
            None if self._peak is None else rate * operations_per_token(self._config, length=int(length)) / self._peak
        )
        entry = {"step": record.step, "seconds": round(seconds, 6), "tokens_per_second": round(rate, 1)}
        if share is not None:
            entry["share_of_peak"] = round(share, 4)
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES or record.step == self._total:
            self._last_line = now
            left = (now - self._started) / (record.step - self._first) * (self._total - record.step)
            of_peak = "" if share is None else f" ({share:.0%} of peak)"
            say(
                f"Step {record.step:,} of {self._total:,}: loss {record.loss:.4f}, gradient norm {record.grad_norm:.2f}"
                f"{', a spike: skipped' if record.skipped else ''}, rate {record.learning_rate:.2e}, "
                f"{rate:,.0f} tokens/s{of_peak}, about {duration(left)} left."
            )

    def pause(self) -> None:
        """Leave what was done since the last step, as saving and looking at the model, out of the next step's time."""
        self._last_step = self._clock()
