"""How well a model foretells text: bits per byte, which compares models of any tokenizer, and compressors with them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from qwen7b.data.shards import Shards
from qwen7b.errors import SettingError
from qwen7b.model import Transformer
from qwen7b.text import Tokenizer
from qwen7b.train.loss import summed_loss
from qwen7b.train.micro_batch import MicroBatch, shared_out
from qwen7b.train.ranks import ALONE, Ranks


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """Held-out text as micro-batches: every token but the first is asked for once, after at most a row of others."""

    batches: tuple[MicroBatch, ...]
    text: bytes
    """The text of the tokens that are asked for; the end of a document has no bytes, but what it costs counts."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text).hexdigest()

    @classmethod
    def read(cls, shards: Shards, tokenizer: Tokenizer, *, length: int, micro_rows: int, max_tokens: int) -> HeldOut:
        """The beginning of some shards, in rows of `length` tokens."""
        parts, count = [], 0
        for ids in shards.documents():
            parts.append(ids[: max_tokens - count])
            count += len(parts[-1])
            if count >= max_tokens:
                break
        stream = torch.from_numpy(np.concatenate(parts))
        num_rows = (len(stream) - 1) // length
        if num_rows < 1:
            raise SettingError(
                f"the validation text has {len(stream):,} tokens, less than a row of {length:,} and one more: "
                "give more of it"
            )
        rows = [stream[n * length : (n + 1) * length + 1] for n in range(num_rows)]
        batches = [
            MicroBatch(
                sequences=tuple(row[:-1] for row in rows[n : n + micro_rows]),
                targets=torch.cat([row[1:] for row in rows[n : n + micro_rows]]),
            )
            for n in range(0, num_rows, micro_rows)
        ]
        return cls(batches=tuple(batches), text=text_of(stream[1 : num_rows * length + 1].tolist(), tokenizer))


def text_of(ids: Sequence[int], tokenizer: Tokenizer) -> bytes:
    """The bytes that ids stand for, without those of control tokens, which are no text."""
    return tokenizer.decode_bytes(id for id in ids if not tokenizer.is_control(id))


@torch.no_grad()
def bits_per_byte(
    model: Transformer, held_out: HeldOut, *, dtype: torch.dtype = torch.float32, ranks: Ranks = ALONE
) -> float:
    """The bits that the model takes for a byte of held-out text, of which each rank reads its share."""
    batches = held_out.batches
    own = shared_out(len(batches), batches.__getitem__, rank=ranks.rank, num_ranks=ranks.num_ranks)
    (nats,) = ranks.sums(sum(ranks.run(summed_loss, model, batch, dtype=dtype).item() for batch in own))
    return nats / math.log(2) / len(held_out.text)
