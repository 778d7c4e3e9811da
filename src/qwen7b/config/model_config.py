"""The sizes and the position scheme of one model, in qwen7b's own terms; knows no file format."""

from __future__ import annotations

from dataclasses import dataclass

from qwen7b.config.checked import positive_number, whole_number
from qwen7b.config.family import Family
from qwen7b.config.rotary_scaling import DynamicNtk, RotaryScaling, Yarn
from qwen7b.errors import SettingError, counted, quoted

MAX_LAYERS = 1000
# Far above any real model, and low enough that no product of them overflows.
_MAXIMA = {
    "vocab_rows": 1 << 24,
    "hidden_size": 1 << 24,
    "num_layers": MAX_LAYERS,
    "num_heads": 1 << 16,
    "num_kv_heads": 1 << 16,
    "head_size": 1 << 16,
    "feed_forward_size": 1 << 24,
    "trained_length": 1 << 40,
    "context_length": 1 << 40,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A dense decoder of Qwen's, Qwen2's or Llama's design. Raises SettingError where sizes contradict each other."""

    family: Family
    """The family whose conventions the checkpoint follows; its name, such as "qwen2", is accepted too."""
    vocab_rows: int
    """Rows of the embedding and of the head; at least as many as the tokenizer has tokens."""
    hidden_size: int
    """Width of the residual stream."""
    num_layers: int
    num_heads: int
    num_kv_heads: int
    """Key-value heads; equal to num_heads in first-generation Qwen."""
    head_size: int
    feed_forward_size: int
    """Width of one branch of the feed-forward (11008 in Qwen-7B)."""
    norm_epsilon: float
    rope_base: float
    trained_length: int
    """Tokens in a training sequence: dynamic NTK and LogN take effect beyond it."""
    context_length: int
    """The most tokens that a sequence may have."""
    qkv_bias: bool
    """Whether query, key and value carry a bias; nothing else ever does."""
    tied_head: bool
    """Whether the head is the embedding itself."""
    rotary_scaling: RotaryScaling | None = None
    """How rotary positions are stretched for sequences beyond the trained length; None: not at all."""
    logn: bool = False
    """Whether queries beyond the trained length are scaled by LogN."""
    attention_windows: tuple[int, ...] | None = None
    """How many of the last positions a query attends to, itself included, by layer, lowest first; 0 or None: all."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "family", Family(self.family))
        except ValueError:
            raise SettingError(f"family must be one of {', '.join(Family)}, found {quoted(self.family)}") from None
        for name in ("qkv_bias", "tied_head", "logn"):
            if not isinstance(getattr(self, name), bool):
                raise SettingError(f"{name} must be true or false, found {quoted(getattr(self, name))}")
        if not isinstance(self.rotary_scaling, RotaryScaling | None):
            raise SettingError(
                "rotary_scaling must be a DynamicNtk, LinearInterpolation or Yarn, or None, found "
                f"{quoted(self.rotary_scaling)}"
            )
        for name, maximum in _MAXIMA.items():
            whole_number(name, getattr(self, name), minimum=1, maximum=maximum)
        if self.num_heads % self.num_kv_heads:
            raise SettingError(
                f"{counted(self.num_heads, 'head')} cannot share {counted(self.num_kv_heads, 'key-value head')} "
                "evenly: num_heads must be a multiple of num_kv_heads"
            )
        if self.head_size % 2:
            raise SettingError(f"rotary positions need an even head_size, found {self.head_size}")
        if self.attention_windows is not None:
            if not isinstance(self.attention_windows, tuple) or len(self.attention_windows) != self.num_layers:
                raise SettingError(
                    f"attention_windows must be a tuple of {counted(self.num_layers, 'window')}, one a layer, found "
                    f"{quoted(self.attention_windows)}"
                )
            for window in self.attention_windows:
                whole_number("a layer's attention window", window, minimum=0, maximum=_MAXIMA["context_length"])
        positive_number("norm_epsilon", self.norm_epsilon)
        positive_number("rope_base", self.rope_base)
        if self.logn and self.trained_length < 2:
            raise SettingError("LogN divides by the logarithm of trained_length, which must be at least 2, found 1")
        if self.dynamic_ntk and self.head_size < 4:
            raise SettingError(f"dynamic NTK needs a head_size of at least 4, found {self.head_size}")
        if isinstance(self.rotary_scaling, Yarn) and self.rope_base <= 1:
            raise SettingError(f"YaRN needs a rope_base above 1, found {self.rope_base}")

    @property
    def dynamic_ntk(self) -> bool:
        return isinstance(self.rotary_scaling, DynamicNtk)

    def window(self, layer: int) -> int:
        """How many of the last positions a layer's queries attend to; 0 for all."""
        return 0 if self.attention_windows is None else self.attention_windows[layer]
