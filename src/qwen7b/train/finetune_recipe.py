"""Recipes of fine-tuning: what conversations and preferences share, and what each has of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from qwen7b.adapters.settings import LoraSettings
from qwen7b.config.checked import fraction, positive_number, whole_number
from qwen7b.errors import SettingError
from qwen7b.packed.formats import find_format
from qwen7b.train.labels import Mode, check_mode
from qwen7b.train.optimizer_settings import AdamW
from qwen7b.train.recipe import PrecisionChoice, Training
from qwen7b.train.schedule import Cosine


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningRecipe:
    """What every recipe of fine-tuning has."""

    model: str
    """The model that is trained further: a name, a folder, a .gguf file or a hub id."""
    data: tuple[str, ...]
    """Files of what is read, as JSON or JSON lines."""
    max_length: int = 2048
    """The most tokens of an example."""
    dialect: str | None = None
    """How tools and calls are written; by default the model's own way."""
    rows: int = 16
    """Examples of a step."""
    micro_tokens: int = 4096
    """The most tokens that are computed at once; gradients of the parts of a step are summed."""
    epochs: float = 5.0
    """How many times every example is read, where `steps` does not say it."""
    steps: int | None = None
    """The steps to train for."""
    learning_rate: float | None = None
    """The highest rate; by default a higher one for an adapter than for all weights."""
    warmup_fraction: float = 0.01
    """The share of the steps in which the rate rises; then it falls along a cosine to 0."""
    weight_decay: float = 0.1
    """The share of matrices that goes at each step, times the rate."""
    beta2: float = 0.95
    """AdamW's share of the past in the mean of squared gradients."""
    seed: int = 0
    """What the order of the data, the adapter's first numbers and dropout are drawn from."""
    precision: PrecisionChoice = "auto"
    """What products are computed in; auto: what a probe finds faster."""
    activation_checkpointing: bool = False
    """Whether layers are computed again for the gradients instead of kept, and freed memory is given back at once: less
    memory, up to twice the time."""
    save_every: int = 200
    """The steps between two saved ones; the last is always saved."""
    keep: int = 2
    """How many saved steps stay on the disk."""
    quantize: str | None = None
    """The format in which the model's own weights are held beside an adapter: q8, q4 or nf4; by default floats."""
    lora: LoraSettings | None = None
    """The adapter that is trained in place of the weights; without it all weights are."""

    LORA_RATE: ClassVar[float]
    FULL_RATE: ClassVar[float]

    def __post_init__(self) -> None:
        if not self.data:
            raise SettingError("data must name a file at least, found none")
        whole_number("max_length", self.max_length, minimum=2)
        whole_number("rows", self.rows, minimum=1)
        whole_number("micro_tokens", self.micro_tokens, minimum=1)
        positive_number("epochs", self.epochs)
        fraction("warmup_fraction", self.warmup_fraction)
        if self.steps is not None:
            whole_number("steps", self.steps, minimum=1)
        self._training(steps=self.steps or 1)  # raises for the rest
        if self.quantize is not None:
            find_format(self.quantize)
            if self.lora is None:
                raise SettingError(
                    f"weights packed as {self.quantize} are not trained themselves: train an adapter beside them "
                    "(--lora), or load floats"
                )

    def resolved(self, *, num_examples: int, precision: PrecisionChoice) -> Self:
        """The recipe with all that the data and the machine decide."""
        steps = max(1, round(num_examples * self.epochs / self.rows)) if self.steps is None else self.steps
        return replace(self, steps=steps, learning_rate=self._highest_rate, precision=precision)

    @property
    def training(self) -> Training:
        """The settings of the loop, of a resolved recipe."""
        assert self.steps is not None and self.learning_rate is not None
        return self._training(steps=self.steps)

    @property
    def _highest_rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        return self.FULL_RATE if self.lora is None else self.LORA_RATE

    def _training(self, *, steps: int) -> Training:
        return Training(
            steps=steps,
            seed=self.seed,
            precision=self.precision,
            activation_checkpointing=self.activation_checkpointing,
            save_every=self.save_every,
            keep=self.keep,
            optimizer=AdamW(
                learning_rate=self._highest_rate, beta2=self.beta2, epsilon=1e-8, weight_decay=self.weight_decay
            ),
            schedule=Cosine(warmup_steps=round(self.warmup_fraction * steps), final_fraction=0.0),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneRecipe(TuningRecipe):
    """A recipe of fine-tuning on conversations, with the defaults of the original's finetune.py and its scripts."""

    mode: Mode = "assistant"
    """What is learned: what the assistant writes, or what the original's finetune.py trains."""

    LORA_RATE: ClassVar[float] = 3e-4  # of finetune_lora_single_gpu.sh
    FULL_RATE: ClassVar[float] = 1e-5  # of finetune_ds.sh

    def __post_init__(self) -> None:
        TuningRecipe.__post_init__(self)
        check_mode(self.mode)
