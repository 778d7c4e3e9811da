"""Methods by name: what each makes of a config, and how wrong ones are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

import tiny
from qwen7b.config import ModelConfig
from qwen7b.config.long_context import Method, default_windows, extended, parse_method, with_long_context
from qwen7b.config.rotary_scaling import DynamicNtk, LinearInterpolation, Yarn
from qwen7b.errors import SettingError

CONFIG = tiny.config(num_layers=6, trained_length=2048, context_length=8192, rotary_scaling=None, logn=False)
LONG = replace(CONFIG, rotary_scaling=DynamicNtk(), logn=True, attention_windows=(512,) * 6)


@pytest.mark.parametrize(
    ("method", "scaling", "logn", "windows"),
    [
        ("none", None, False, None),
        ("ntk", DynamicNtk(), False, None),
        ("logn", None, True, None),
        ("logn+ntk", DynamicNtk(), True, None),
        ("window:300", None, False, (300,) * 6),
        ("ntk+logn+window", DynamicNtk(), True, (512, 1280, 2048, 0, 0, 0)),
        ("linear:2.5", LinearInterpolation(factor=2.5), False, None),
        ("linear", LinearInterpolation(factor=4), False, None),
        ("yarn:8+window:1", Yarn(factor=8, original_length=2048), False, (1,) * 6),
        ("yarn+logn", Yarn(factor=4, original_length=2048), True, None),
    ],
)
@pytest.mark.parametrize("config", [CONFIG, LONG])
def test_a_method_replaces_all_there_was(
    config: ModelConfig, method: str, scaling: object, logn: bool, windows: object
) -> None:
    found = with_long_context(config, method)
    assert found == replace(CONFIG, rotary_scaling=scaling, logn=logn, attention_windows=windows)


def test_lengths_choose_the_factor() -> None:
    assert with_long_context(CONFIG, "yarn", length=16384).rotary_scaling == Yarn(factor=8, original_length=2048)
    assert with_long_context(CONFIG, "linear", length=4096).rotary_scaling == LinearInterpolation(factor=2)
    for method in ("linear", "yarn", "yarn:1"):
        assert with_long_context(CONFIG, method, length=100).rotary_scaling is None
    shorter = with_long_context(CONFIG, "yarn", trained_length=1024)
    assert shorter.rotary_scaling == Yarn(factor=8, original_length=1024) and shorter.trained_length == 1024
    assert with_long_context(CONFIG, "ntk", trained_length=512).trained_length == 512
    assert with_long_context(CONFIG, "window:9000", length=16384).window(0) == 9000


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("", "found '' in ''"),
        ("NTK", "a long-context method is none, or parts joined by .*found 'NTK' in 'NTK'"),
        ("ntk+alibi", "found 'alibi' in 'ntk[+]alibi'"),
        ("ntk+", "found '' in"),
        ("none+ntk", "found 'none' in"),
        ("ntk:2", "ntk takes no factor, as it adapts to the length of each sequence, found 'ntk:2'"),
        ("ntk:2+logn", "found 'ntk:2' in 'ntk:2[+]logn': name it without a factor, and set a context length"),
        ("yarn:4+logn:8", "logn takes no factor, .* found 'logn:8'"),
        ("ntk:", "ntk takes no factor"),
        ("logn:2", "found 'logn:2'"),
        ("yarn:", "found 'yarn:'"),
        ("yarn:-4", "found 'yarn:-4'"),
        ("linear:nan", "found 'linear:nan'"),
        ("window:1.5", "found 'window:1.5'"),
        ("linear:0.5", "the factor of linear must lie between 1 and 1000, found 'linear:0.5'"),
        ("yarn:0", "the factor of yarn must lie between 1 and 1000, found 'yarn:0'"),
        ("logn+yarn:999999999999999", "the factor of yarn must lie between 1 and 1000, found 'yarn:999999999999999'"),
        ("window:" + "9" * 5000, "found 'window:9999"),
        ("window:0", "an attention window must be a whole number of at least 1, found 0"),
        ("ntk+yarn", "stretches positions twice: drop yarn or the other"),
        ("linear:2+linear:2", "stretches positions twice"),
        ("logn+logn", "names logn twice"),
        ("window+window:4", "names window twice"),
        (None, "found 'None'"),
    ],
)
def test_wrong_methods_are_refused_in_one_sentence(method: str, message: str) -> None:
    for refuse in (parse_method, lambda name: with_long_context(CONFIG, name)):
        with pytest.raises(SettingError, match=message) as error:
            refuse(method)
        assert "\n" not in str(error.value)


def test_configs_that_cannot_be_computed_are_refused() -> None:
    yarn = Yarn(factor=2, original_length=64)
    for changes, message in (
        ({"logn": True, "trained_length": 1}, "LogN .* trained_length, which must be at least 2, found 1"),
        ({"rotary_scaling": DynamicNtk(), "head_size": 2}, "dynamic NTK needs a head_size of at least 4, found 2"),
        ({"rotary_scaling": yarn, "rope_base": 1.0}, "YaRN needs a rope_base above 1, found 1.0"),
    ):
        with pytest.raises(SettingError, match=message):
            replace(CONFIG, **changes)  # type: ignore[arg-type]
    assert with_long_context(LONG, "none", trained_length=1).trained_length == 1
    with pytest.raises(SettingError, match="LogN"):
        with_long_context(LONG, "logn", trained_length=1)


def test_a_window_larger_than_the_context_is_refused() -> None:
    assert with_long_context(CONFIG, "window:8192").window(5) == 8192
    with pytest.raises(SettingError, match="window of 8193 is larger than the context of 8192 tokens: name a smaller"):
        with_long_context(CONFIG, "window:8193")


@pytest.mark.parametrize(
    ("num_layers", "trained_length", "windows"),
    [
        (1, 2048, (512,)),
        (2, 2048, (512, 0)),
        (4, 8192, (2048, 8192, 0, 0)),
        (5, 8192, (2048, 5120, 8192, 0, 0)),
        (8, 32768, (8192, 16384, 24576, 32768, 0, 0, 0, 0)),
        (6, 64, (16, 40, 64, 0, 0, 0)),
        (2, 1, (1, 0)),
    ],
)
def test_default_windows_grow_to_the_middle(num_layers: int, trained_length: int, windows: tuple[int, ...]) -> None:
    assert default_windows(replace(CONFIG, num_layers=num_layers, trained_length=trained_length)) == windows


@pytest.mark.parametrize("trained_length", [512, 600, 2048, 8192, 32768])
def test_default_windows_are_whole_blocks_that_the_model_knows(trained_length: int) -> None:
    windows = default_windows(replace(CONFIG, num_layers=33, trained_length=trained_length))
    lower = [window for window in windows if window]
    assert lower == sorted(lower) and len(lower) == 17 and windows[17:] == (0,) * 16
    assert all(window % 128 == 0 and window <= trained_length for window in lower)


def test_the_context_grows_with_a_method() -> None:
    short = replace(CONFIG, context_length=2048)
    assert extended(short, method=None, context_length=None) == short
    assert extended(short, method="ntk+logn", context_length=None).context_length == 8192
    assert extended(replace(short, context_length=9000), method="ntk", context_length=None).context_length == 9000
    assert extended(LONG, method="none", context_length=None) == CONFIG
    assert extended(short, method="none", context_length=None) == short
    yarn = extended(short, method="yarn:2.5", context_length=None)
    assert (yarn.context_length, yarn.rotary_scaling) == (5120, Yarn(factor=2.5, original_length=2048))
    asked = extended(short, method="yarn", context_length=6144)
    assert (asked.context_length, asked.rotary_scaling) == (6144, Yarn(factor=3, original_length=2048))
    assert extended(LONG, method=None, context_length=100) == replace(LONG, context_length=100)
    with pytest.raises(SettingError, match="context_length must be a whole number of at least 2"):
        extended(CONFIG, method=None, context_length=1)


def test_names_come_apart() -> None:
    assert parse_method("none") == Method()
    assert parse_method("window:64+yarn:4") == Method(rotary="yarn", factor=4, window=True, window_size=64)
