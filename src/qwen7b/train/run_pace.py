"""How fast a run goes: tokens a second, the share of what the machine could do, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from qwen7b.config import ModelConfig
from qwen7b.model import Transformer
from qwen7b.system.progress import duration, say
from qwen7b.train.run_log import RunLog, StepRecord

_SECONDS_BETWEEN_LINES = 10.0


def operations_per_token(
    config: ModelConfig, *, length: int, share_of_targets: float = 1.0, num_adapter_weights: int | None = None
) -> float:
    """The multiplications and additions that training takes for a token of a sequence.

    Two for each weight of a product in the forward, two in the backward, and two for its own gradient, which the
    model's weights beside an adapter do not have; the head's for targets alone. Attention is to half of the other
    positions on average, for scores and for the mix. What is computed again is no progress and does not count.
    """
    width, inner = config.hidden_size, config.num_heads * config.head_size
    keys = config.num_kv_heads * config.head_size
    layer = width * (inner + 2 * keys) + inner * width + 3 * width * config.feed_forward_size
    weights = config.num_layers * layer + share_of_targets * config.vocab_rows * width
    of_weights = 6 * weights if num_adapter_weights is None else 4 * weights + 6 * num_adapter_weights
    return of_weights + 6 * config.num_layers * inner * length


class RunPace:
    """Says how a run goes, on standard error, and keeps each step's time in a file."""

    def __init__(
        self, path: Path, model: Transformer, *, peak: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`peak` is the most operations a second, where that is known.

        A last line of the file that was cut off, as by a power cut, is taken away. Raises ResourceError where the disk
        is full.
        """
        self._log = RunLog(path, num_bytes=path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0)
        self._config, self._peak, self._clock = model.config, peak, clock
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        is_adapter = len(trained) < len([*model.parameters()])
        self._num_adapter_weights = sum(one.numel() for one in trained if one.dim() == 2) if is_adapter else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def start(self, *, done: int, total: int) -> None:
        self._first, self._total = done, total
        self._started = self._last_step = self._last_line = self._clock()

    def add(self, record: StepRecord, *, length: float) -> None:
        """Count a step whose sequences had `length` tokens on average."""
        now = self._clock()
        seconds, self._last_step = now - self._last_step, now
        rate = record.tokens / max(seconds, 1e-9)
        share = None if self._peak is None else rate * self._operations(record, length=int(length)) / self._peak
        entry = {"step": record.step, "seconds": round(seconds, 6), "tokens_per_second": round(rate, 1)}
        if share is not None:
            entry["share_of_peak"] = round(share, 4)
        self._log.add(entry)
        if now - self._last_line >= _SECONDS_BETWEEN_LINES or record.step == self._total:
            self._last_line = now
            left = (now - self._started) / (record.step - self._first) * (self._total - record.step)
            of_peak = "" if share is None else f" ({share:.0%} of peak)"
            say(
                f"Step {record.step:,} of {self._total:,}: loss {record.loss:.4f}, gradient norm {record.grad_norm:.2f}"
                f"{', a spike: skipped' if record.skipped else ''}, rate {record.learning_rate:.2e}, "
                f"{rate:,.0f} tokens/s{of_peak}, about {duration(left)} left."
            )

    def _operations(self, record: StepRecord, *, length: int) -> float:
        return operations_per_token(
            self._config,
            length=length,
            share_of_targets=record.targets / record.tokens,
            num_adapter_weights=self._num_adapter_weights,
        )

    def pause(self) -> None:
        """Leave what was done since the last step, as saving and looking at the model, out of the next step's time."""
        self._last_step = self._clock()
