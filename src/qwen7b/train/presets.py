"""Recipes to start from: what Qwen's two documents say of Qwen-7B's pretraining, and a tiny one that runs at once.

The memo is that of 2023-08, the report https://arxiv.org/abs/2309.16609. Both say: AdamW with beta 0.9 and 0.95, a
highest rate of 3e-4 for 7B, a cosine down to a tenth, sequences of 2,048 tokens, about 4 million tokens a step,
bfloat16, documents shuffled, merged and cut. They disagree on epsilon and on the number of tokens.
"""

from __future__ import annotations

from dataclasses import replace

from qwen7b.train.optimizer_settings import AdamW, Muon
from qwen7b.train.recipe import Corpus, PretrainRecipe, Shape, Training, Validation
from qwen7b.train.schedule import Cosine, WarmupStableDecay

_ROWS = 2048
"""Sequences of a step: 2,048 of 2,048 tokens are 4.2 million."""
_QWEN_7B = Shape(hidden_size=4096, num_layers=32, num_heads=32, feed_forward_size=11008, vocab_rows=151936)


def _steps(tokens: float) -> int:
    return round(tokens / (_ROWS * 2048))


MEMO = PretrainRecipe(
    model=_QWEN_7B,
    corpus=Corpus(tokenizer="qwen.tiktoken", shards=("shards",), length=2048, rows=_ROWS, micro_rows=1),
    training=Training(
        steps=_steps(2.2e12),
        max_grad_norm=1.0,
        precision="bfloat16",
        activation_checkpointing=True,
        save_every=1000,
        optimizer=AdamW(learning_rate=3e-4, beta1=0.9, beta2=0.95, epsilon=1e-6, weight_decay=0.1),
        schedule=Cosine(warmup_steps=2000, final_fraction=0.1),
    ),
    validation=Validation(every=1000),
)
"""What the memo says; the decay of 0.1, the clip of 1.0 and the 2,000 steps of warm-up are the memo's alone."""

REPORT = replace(
    MEMO,
    training=replace(MEMO.training, steps=_steps(2.4e12), optimizer=replace(MEMO.training.optimizer, epsilon=1e-8)),
)
"""What the report says; where it is silent, the memo's value stands."""

TINY = PretrainRecipe(
    model=Shape(hidden_size=256, num_layers=6, num_heads=4, feed_forward_size=704, family="qwen2", tied_head=True),
    corpus=Corpus(tokenizer="tokenizer.json", shards=("shards",), length=512, rows=16, micro_rows=8),
    training=Training(
        steps=1000,
        save_every=200,
        optimizer=Muon(learning_rate=3e-3, weight_decay=0.1),
        schedule=WarmupStableDecay(warmup_steps=50),
    ),
    validation=Validation(shards="shards-held-out", every=100, prompts=("The ",)),
)
"""Five million weights, for a first run on a CPU: see docs/pretrain.md."""

PRESETS = {"memo": MEMO, "report": REPORT, "tiny": TINY}
