"""The shape and position scheme of one model, in qwen7b's own words; knows no file format."""

from __future__ import annotations

from dataclasses import dataclass

from qwen7b.errors import SettingError


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A dense decoder of the Qwen, Qwen2 or Llama build. Raises SettingError where the sizes contradict each other."""

    family: str
    """Whose conventions the checkpoint follows: "qwen", "qwen2" or "llama"."""
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
    """Tokens in a training sequence: beyond it dynamic NTK and LogN act."""
    context_length: int
    """Tokens a sequence may have in all."""
    qkv_bias: bool
    """Whether query, key and value carry a bias; nothing else ever does."""
    tied_head: bool
    """Whether the head is the embedding itself."""
    dynamic_ntk: bool = False
    logn: bool = False

    def __post_init__(self) -> None:
        for name in (
            *("vocab_rows", "hidden_size", "num_layers", "num_heads", "num_kv_heads"),
            *("head_size", "feed_forward_size", "trained_length", "context_length"),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} must be a positive whole number, found {value!r}")
        if self.num_heads % self.num_kv_heads:
            raise SettingError(
                f"{self.num_heads} heads cannot share {self.num_kv_heads} key-value heads evenly: "
                "num_heads must be a multiple of num_kv_heads"
            )
        if self.head_size % 2:
            raise SettingError(f"rotary positions need an even head_size, found {self.head_size}")
        if self.norm_epsilon <= 0 or self.rope_base <= 0:
            raise SettingError(
                f"norm_epsilon and rope_base must be positive, found {self.norm_epsilon} and {self.rope_base}"
            )
