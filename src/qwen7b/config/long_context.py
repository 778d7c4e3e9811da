"""Methods to go beyond the trained length, by names such as "ntk+logn+window": a config and a name in, a config out.

`model/` computes what the new config says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from qwen7b.config.checked import whole_number
from qwen7b.config.model_config import ModelConfig
from qwen7b.config.rotary_scaling import DynamicNtk, LinearInterpolation, RotaryScaling, Yarn
from qwen7b.errors import SettingError, quoted

DEFAULT_GROWTH = 4
"""The context in trained lengths where a method is chosen without a context length."""
MAX_GROWTH = 1000
"""The largest factor that a method may name."""
_SYNTAX = "none, or parts joined by +: one of ntk, linear, linear:F, yarn and yarn:F, then logn, and window or window:W"
_PART = re.compile(r"(ntk|logn)|(linear|yarn)(?::(\d{1,15}(?:\.\d+)?))?|(window)(?::(\d{1,15}))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A method, parsed from its name."""

    rotary: str | None = None
    """"ntk", "linear" or "yarn"."""
    factor: float | None = None
    logn: bool = False
    window: bool = False
    window_size: int | None = None

    @property
    def uses_trained_length(self) -> bool:
        """Whether its results depend on the trained length."""
        if self.rotary == "linear" and self.factor is None:
            return True
        return self.rotary in ("ntk", "yarn") or self.logn or (self.window and self.window_size is None)


def parse_method(name: str) -> Method:
    """Parse a name. Raises SettingError where a part is unknown or contradicts another.

    >>> parse_method("yarn:4+logn").factor
    4.0
    """
    name = name if isinstance(name, str) else quoted(name)
    method = Method()
    for part in [] if name == "none" else name.split("+"):
        match = _PART.fullmatch(part)
        if match is None and (scheme := part.partition(":")[0]) in ("ntk", "logn"):
            raise SettingError(
                f"{scheme} takes no factor, as it adapts to the length of each sequence, found {quoted(part)} in "
                f"{quoted(name)}: name it without a factor, and set a context length"
            )
        if match is None:
            raise SettingError(f"a long-context method is {_SYNTAX}; found {quoted(part)} in {quoted(name)}")
        plain, stretch, factor, window, size = match.groups()
        if (window and method.window) or (plain == "logn" and method.logn):
            raise SettingError(f"the long-context method {quoted(name)} names {window or plain} twice: drop one")
        if window:
            size = None if size is None else whole_number("an attention window", int(size), minimum=1)
            method = replace(method, window=True, window_size=size)
        elif plain == "logn":
            method = replace(method, logn=True)
        elif method.rotary:
            raise SettingError(
                f"the long-context method {quoted(name)} stretches positions twice: drop {part} or the other"
            )
        else:
            method = replace(method, rotary=plain or stretch, factor=None if factor is None else float(factor))
            if method.factor is not None and not 1 <= method.factor <= MAX_GROWTH:
                raise SettingError(f"the factor of {stretch} must lie between 1 and {MAX_GROWTH}, found {quoted(part)}")
    return method


def with_long_context(
    config: ModelConfig, method: str, *, trained_length: int | None = None, length: int | None = None
) -> ModelConfig:
    """The config with `method` as the only way to go beyond its trained length.

    `trained_length` replaces the config's own. Where linear interpolation or YaRN have no factor, it is the one that
    `length`, by default the config's context_length, needs. Raises SettingError for a method that is unknown,
    contradicts itself or has a window larger than the context.

    >>> with_long_context(config, "ntk+logn").logn  # doctest: +SKIP
    True
    """
    parsed = parse_method(method)
    if trained_length is not None:
        config = replace(config, trained_length=trained_length, logn=False)  # LogN is set, and checked, below
    length = config.context_length if length is None else length
    longest = max(length, config.context_length)
    windows = None
    if parsed.window_size is not None:
        if parsed.window_size > longest:
            raise SettingError(
                f"an attention window of {parsed.window_size} is larger than the context of {longest} tokens: name a "
                "smaller one, or a larger context"
            )
        windows = (parsed.window_size,) * config.num_layers
    elif parsed.window:
        windows = default_windows(config)
    return replace(
        config,
        rotary_scaling=_rotary_scaling(
            parsed,
            factor=max(1.0, length / config.trained_length) if parsed.factor is None else parsed.factor,
            trained_length=config.trained_length,
        ),
        logn=parsed.logn,
        attention_windows=windows,
    )


def extended(config: ModelConfig, *, method: str | None, context_length: int | None) -> ModelConfig:
    """A checkpoint's config with the method and the context length that a caller sets; None keeps its own.

    With a method and no length the context grows to DEFAULT_GROWTH times the trained length, or by the
    factor that the method names, if it is not as long already.
    """
    if context_length is not None:
        config = replace(config, context_length=whole_number("context_length", context_length, minimum=2))
    if method is None:
        return config
    parsed = parse_method(method)
    if context_length is None and parsed != Method():
        grown = int((parsed.factor or DEFAULT_GROWTH) * config.trained_length)
        config = replace(config, context_length=max(config.context_length, grown))
    return with_long_context(config, method)


def default_windows(config: ModelConfig) -> tuple[int, ...]:
    """Attention windows that are shorter in low layers, which attend to nearby tokens anyway; 0 means no window.

    They grow evenly from a quarter of the trained length in the lowest layer to all of it in the middle one; the upper
    half has none. From a trained length of 512 on, windows are multiples of 128.
    """
    half = -(-config.num_layers // 2)
    step = 128 if config.trained_length >= 512 else 1
    windows = []
    for layer in range(half):
        share = 0.25 + 0.75 * layer / max(half - 1, 1)
        windows.append(max(int(share * config.trained_length / step), 1) * step)
    return (*windows, *[0] * (config.num_layers - half))


def _rotary_scaling(method: Method, *, factor: float, trained_length: int) -> RotaryScaling | None:
    match method.rotary:
        case "ntk":
            return DynamicNtk()
        case "linear" if factor > 1:  # a factor of 1 changes nothing
            return LinearInterpolation(factor=factor)
        case "yarn" if factor > 1:
            return Yarn(factor=factor, original_length=trained_length)
    return None
