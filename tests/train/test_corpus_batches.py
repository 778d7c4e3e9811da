"""Micro-batches of a corpus: the same rows whatever the ranks, and documents that are masked from each other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny
from data.sharding import write_shards
from qwen7b.data.order import DocumentOrder
from qwen7b.data.shards import Shards
from qwen7b.text import load_tokenizer
from qwen7b.train.corpus_batches import CorpusBatches
from qwen7b.train.loss import summed_loss
from qwen7b.train.micro_batch import NO_TARGET
from train.tiny_training import small_model


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    tokenizer = load_tokenizer(tiny.write_tokenizer_json(tmp_path / "tokenizer.json"))
    texts = ["the tin hell", "a", "er" * 9, "in the inner", "", "he", "tell her then"]
    write_shards(map(tokenizer.encode, texts), tmp_path / "shards", tokenizer=tokenizer)
    return Shards([tmp_path / "shards"], tokenizer=tokenizer)


def batches_of(shards: Shards, *, micro_rows: int = 1, rows: int = 4, **settings: int | bool) -> CorpusBatches:
    order = DocumentOrder(shards.lengths, length=8, rows=rows, seed=0)
    return CorpusBatches(shards, order, micro_rows=micro_rows, **settings)


def test_a_row_s_target_is_the_token_after(shards: Shards) -> None:
    (batch,) = batches_of(shards, micro_rows=4)(0)
    stream = torch.cat([*batch.sequences, batch.targets[-1:]])
    assert [len(ids) for ids in batch.sequences] == [8] * 4
    assert torch.equal(batch.targets, stream[1:])


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_ranks_share_the_rows_of_a_step(shards: Shards, num_ranks: int) -> None:
    whole = [batch.sequences for batch in batches_of(shards)(3)]
    shared = [batches_of(shards, rank=rank, num_ranks=num_ranks)(3) for rank in range(num_ranks)]
    together = [batch.sequences for parts in zip(*shared, strict=True) for batch in parts]
    assert len(whole) == len(together) == 4
    assert all(torch.equal(*map(torch.cat, pair)) for pair in zip(whole, together, strict=True))


def test_where_rows_cannot_be_shared_evenly_all_ranks_compute_equally_many_parts(shards: Shards) -> None:
    """Ranks wait for each other; the number of them may change while a run goes on."""
    whole = [batch.sequences for batch in batches_of(shards)(3)]
    shared = [batches_of(shards, rank=rank, num_ranks=3)(3) for rank in range(3)]
    assert [len(parts) for parts in shared] == [2, 2, 2]
    together = [batch for parts in zip(*shared, strict=True) for batch in parts]
    assert all(
        torch.equal(*map(torch.cat, pair)) for pair in zip(whole, [b.sequences for b in together[:4]], strict=True)
    )
    assert [batch.num_targets for batch in together[4:]] == [0, 0]
    assert [batch.num_tokens for batch in together[4:]] == [1, 1]


def test_masked_documents_are_sequences_of_their_own(shards: Shards) -> None:
    plain, masked = (batches_of(shards, micro_rows=4, mask_documents=masked)(0)[0] for masked in (False, True))
    end = shards.indexes[0].end_id
    assert all((ids[:-1] != end).all() for ids in masked.sequences)
    # The tokens are the same; what follows the end of a document is not asked for.
    assert torch.equal(torch.cat(plain.sequences), torch.cat(masked.sequences))
    after_end = torch.cat(plain.sequences) == end
    assert after_end.sum() >= 4
    assert torch.equal(masked.targets, plain.targets.where(~after_end, NO_TARGET))


def test_a_masked_document_does_not_feel_the_one_before(shards: Shards) -> None:
    model = small_model()
    (batch,) = batches_of(shards, micro_rows=4, mask_documents=True)(0)
    lengths = [len(ids) for ids in batch.sequences]
    parts = zip(batch.sequences, batch.targets.split(lengths), strict=True)
    alone = sum(summed_loss(model, type(batch)(sequences=(ids,), targets=targets)) for ids, targets in parts)
    torch.testing.assert_close(summed_loss(model, batch), alone)
