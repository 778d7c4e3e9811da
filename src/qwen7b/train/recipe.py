"""What a run is to be: recipes of pretraining, and the settings of the loop, which fine-tuning shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from qwen7b.config import Family, ModelConfig
from qwen7b.config.checked import flag, positive_number, whole_number
from qwen7b.errors import SettingError, quoted
from qwen7b.train.optimizer_settings import AdamW, Optimizer
from qwen7b.train.schedule import Cosine, Schedule, WarmupStableDecay

PrecisionChoice: TypeAlias = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How the loop goes from one step to the next, whatever it trains on."""

    steps: int
    """The steps to train for; each is one change of the weights."""
    seed: int = 0
    """What the first weights, the order of the data and dropout are drawn from."""
    max_grad_norm: float = 1.0
    """The norm that all gradients together are cut down to."""
    precision: PrecisionChoice = "auto"
    """What products are computed in; weights and optimizer stay in float32. auto: what a probe finds faster."""
    activation_checkpointing: bool = False
    """Whether layers are computed again for the gradients instead of kept: less memory, a third more time."""
    spike_factor: float = 10.0
    """A step whose gradient norm is so many times the median of the last 64 steps changes nothing, and is logged."""
    save_every: int = 500
    """The steps between two saved ones; the last is always saved."""
    keep: int = 2
    """How many saved steps stay on the disk."""
    optimizer: Optimizer = field(default_factory=AdamW)
    """How weights follow their gradients."""
    schedule: Schedule = field(default_factory=Cosine)
    """How the learning rate goes."""

    def __post_init__(self) -> None:
        whole_number("steps", self.steps, minimum=1)
        whole_number("seed", self.seed, minimum=0, maximum=2**31 - 1)
        positive_number("max_grad_norm", self.max_grad_norm)
        if self.precision not in (choices := get_args(PrecisionChoice)):
            raise SettingError(f"precision must be one of {', '.join(choices)}, found {quoted(self.precision)}")
        flag("activation_checkpointing", self.activation_checkpointing)
        if positive_number("spike_factor", self.spike_factor) <= 1:
            raise SettingError(f"spike_factor must be above 1, found {self.spike_factor}")
        whole_number("save_every", self.save_every, minimum=1)
        whole_number("keep", self.keep, minimum=1)
        schedule, before = self.schedule, f"{self.steps} steps of the run"
        most = self.steps
        if isinstance(schedule, WarmupStableDecay) and (falling := schedule.decay_steps(self.steps)):
            most -= falling
            before = f"{most} steps before the last {falling}, in which the rate falls"
        if schedule.warmup_steps > most:
            raise SettingError(f"warmup_steps must be at most the {before}, found {schedule.warmup_steps}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The sizes of a new model."""

    hidden_size: int
    """Width of the residual stream."""
    num_layers: int
    """The number of layers."""
    num_heads: int
    """Query heads; each has hidden_size / num_heads dimensions."""
    feed_forward_size: int
    """Width of one branch of the feed-forward (11008 in Qwen-7B)."""
    family: Literal["qwen", "qwen2"] = "qwen"
    """The family whose files the model is written in."""
    num_kv_heads: int | None = None
    """Key-value heads; by default as many as query heads, as first-generation Qwen must have."""
    tied_head: bool = False
    """Whether the head is the embedding itself, which first-generation Qwen cannot."""
    vocab_rows: int | None = None
    """Rows of embedding and head; by default the tokenizer's size, rounded up to a multiple of 64."""
    norm_epsilon: float = 1e-6
    """What is added within the root of the norms."""
    rope_base: float = 10000.0
    """The base of the rotary embedding."""

    def __post_init__(self) -> None:
        whole_number("num_heads", self.num_heads, minimum=1)
        whole_number("hidden_size", self.hidden_size, minimum=1)
        flag("tied_head", self.tied_head)
        if self.hidden_size % self.num_heads:
            raise SettingError(f"hidden_size must be a multiple of num_heads, found {self.hidden_size}")
        if Family(self.family) is Family.QWEN and (self.tied_head or self.num_kv_heads not in (None, self.num_heads)):
            raise SettingError(
                "first-generation Qwen has neither a tied head nor fewer key-value heads: choose family = 'qwen2'"
            )
        self.config(vocab_size=1, length=2)  # raises for the rest

    def config(self, *, vocab_size: int, length: int) -> ModelConfig:
        """The settings of the model for a tokenizer of this size, trained on sequences of `length` tokens."""
        rows = -(-vocab_size // 64) * 64 if self.vocab_rows is None else self.vocab_rows
        if rows < vocab_size:
            raise SettingError(f"vocab_rows must be at least the tokenizer's {vocab_size} tokens, found {rows}")
        return ModelConfig(
            family=Family(self.family),
            vocab_rows=rows,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            num_kv_heads=self.num_heads if self.num_kv_heads is None else self.num_kv_heads,
            head_size=self.hidden_size // self.num_heads,
            feed_forward_size=self.feed_forward_size,
            norm_epsilon=self.norm_epsilon,
            rope_base=self.rope_base,
            trained_length=length,
            context_length=length,
            qkv_bias=True,
            tied_head=self.tied_head,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """What is read, and in which pieces."""

    tokenizer: str
    """The tokenizer that the shards were made with: a folder, a file or a known name."""
    shards: tuple[str, ...]
    """Folders that `qwen7b data tokenize` made."""
    length: int = 2048
    """Tokens of a sequence."""
    rows: int = 32
    """Sequences of a step, on all ranks together."""
    micro_rows: int = 4
    """Sequences that are computed at once; gradients of the parts of a step are summed."""
    mask_documents: bool = False
    """Whether attention stops at the beginning of a document, and its first token is not asked for."""

    def __post_init__(self) -> None:
        if not self.shards:
            raise SettingError("shards must name a folder at least, found none: make one by qwen7b data tokenize")
        whole_number("length", self.length, minimum=2)
        whole_number("rows", self.rows, minimum=1)
        whole_number("micro_rows", self.micro_rows, minimum=1)
        flag("mask_documents", self.mask_documents)
        if self.rows % self.micro_rows:
            raise SettingError(f"rows must be a multiple of micro_rows, found {self.rows} and {self.micro_rows}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """How the model is looked at on the way."""

    shards: str | None = None
    """The folder of shards whose text the model is measured on, in bits per byte; by default it is not."""
    every: int = 200
    """The steps between two looks; the last step has one, too."""
    max_tokens: int = 100_000
    """The most tokens that a look reads."""
    prompts: tuple[str, ...] = ()
    """Beginnings that the model continues at each look, greedily."""
    sample_tokens: int = 64
    """The most tokens of a continuation."""

    def __post_init__(self) -> None:
        whole_number("every", self.every, minimum=1)
        whole_number("max_tokens", self.max_tokens, minimum=2)
        whole_number("sample_tokens", self.sample_tokens, minimum=1)
        if not all(self.prompts):
            raise SettingError(f"prompts must not be empty, found {quoted(list(self.prompts))}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainRecipe:
    """A recipe of pretraining, for `qwen7b train pretrain`. Relative paths start at this file's folder."""

    model: Shape
    """The sizes of the new model."""
    corpus: Corpus
    """What is read, and in which pieces."""
    training: Training
    """How the loop goes from one step to the next."""
    validation: Validation = field(default_factory=Validation)
    """How the model is looked at on the way."""
