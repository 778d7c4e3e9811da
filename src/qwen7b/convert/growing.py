"""Gives a model rows for tokens that were added to its vocabulary, and writes it as a checkpoint of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.checks import check_vocabulary
from qwen7b.config import Family
from qwen7b.convert.converting import check_target, write_files
from qwen7b.convert.planning import make_plan
from qwen7b.convert.target_format import TargetFormat
from qwen7b.convert.verification import CHECK_TEXT, compare_logits, compare_tensors, same_tokens
from qwen7b.convert.workplace import Workplace
from qwen7b.errors import CheckpointError, ResourceError, SettingError
from qwen7b.files.stored import StoredTensor
from qwen7b.files.views import Concatenated, InMemory, SelectedRows, Zeros, dtype_of
from qwen7b.hub.locate import locate
from qwen7b.system.progress import progress
from qwen7b.system.workers import workers
from qwen7b.text import Tokenizer, Vocabulary, load_tokenizer
from qwen7b.vocab.extended_vocabulary import parts_of, rows_for
from qwen7b.vocab.new_rows import new_rows
from qwen7b.vocab.row_initials import Initial


@dataclass(frozen=True, kw_only=True, slots=True)
class GrownModel:
    """A checkpoint that was written with rows for added tokens."""

    target: Path
    format: TargetFormat
    added: int
    initial: Initial
    rows_before: int
    rows_after: int
    free_rows: int
    """The rows of the source without a token: so many tokens fit without a larger matrix."""
    is_tied: bool
    """Whether the head is the embedding, so that a token has one new row, not two."""
    largest_logit_difference: float
    """Between source and target, over the tokens that both have, for a text of these tokens."""
    bytes: int
    seconds: float

    def as_document(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in self.__slots__}
        return numbers | {"target": str(self.target), "format": self.format.value, "initial": self.initial.value}


def check_growing(source: str | Path, target: Path, *, offline: bool | None = None) -> None:
    """Raise what `grow` would for this source and target, before any work is done."""
    checkpoint = open_checkpoint(locate(source, offline=offline))
    check_target(target, to=_format_of(checkpoint))


def grow(
    source: str | Path,
    target: str | Path,
    vocabulary: Vocabulary,
    *,
    initial: Initial | str = Initial.MEAN_NORM,
    seed: int = 0,
    chat: bool | None = None,
    offline: bool | None = None,
) -> GrownModel:
    """Write a checkpoint with this vocabulary, which is its own with tokens added, as a folder.

    Each added token gets a row in the embedding and one in the head, made of that matrix's own rows as `initial` says.
    They take the rows that no token has; where these do not suffice, both grow to a multiple of 128 rows. All other
    numbers stay as they are, quantized ones become float32, and all are read back and compared. The target is in the
    layout of first-generation Qwen or of Qwen2, as the source's family is.

    Raises SettingError for a target that exists and for another vocabulary than the source's with tokens added, and
    what `convert` raises.
    """
    started = time.monotonic()
    target, initial = Path(target).expanduser(), Initial(initial)
    path = locate(source, offline=offline)
    checkpoint = open_checkpoint(path)
    to = check_target(target, to=_format_of(checkpoint))
    before, after = load_tokenizer(path), Tokenizer(vocabulary)
    check_vocabulary(before, checkpoint.config, source=path)
    added = _added_tokens(before, vocabulary)
    first_id, rows_before = before.vocab_size, checkpoint.config.vocab_rows
    rows = rows_for(after.vocab_size, rows_before)
    parts = [parts_of(token, before.vocabulary) for token in added]

    def with_rows(stored: StoredTensor) -> StoredTensor:
        made = new_rows(stored, parts, initial=initial, num_used=first_id, seed=seed).to(dtype_of(stored))
        return _replaced(stored, InMemory(made), first=first_id, rows=rows)

    matrices = ("embedding.weight", "head.weight")
    tensors = {
        name: (place, with_rows(stored) if place.parameter in matrices else stored)
        for name, (place, stored) in checkpoint.tensors.items()
    }
    grown = replace(checkpoint, config=replace(checkpoint.config, vocab_rows=rows), tensors=tensors, packed=None)
    plan = make_plan(
        grown, model_name=Path(source).name, target_name=target.name, to=to, type=None, chat=chat, tokenizer=after
    )
    workplace = Workplace(target, resumes=False)
    workplace.check_space(plan.weight_files)
    with workplace.held({}), workers(caller_waits=True) as threads:
        write_files(plan, workplace, threads)
        written = open_checkpoint(workplace.files)
        if not same_tokens(after, workplace.files, text=CHECK_TEXT):
            raise ResourceError(
                f"{workplace.files} reads back with another vocabulary than was written: the disk or memory is faulty, "
                "try again"
            )
        with progress(
            "Checking every number", sum(tensor.num_weights for tensor in plan.tensors), " numbers"
        ) as report:
            compare_tensors(plan.tensors, plan.parameters, written, threads, report=report)
        logits = compare_logits(checkpoint, written, before, threads, text=CHECK_TEXT)
        workplace.finish()
    return GrownModel(
        target=target,
        format=to,
        added=len(added),
        initial=initial,
        rows_before=rows_before,
        rows_after=rows,
        free_rows=rows_before - first_id,
        is_tied=plan.config.tied_head,
        largest_logit_difference=logits.largest_difference,
        bytes=plan.num_bytes,
        seconds=time.monotonic() - started,
    )


def _format_of(checkpoint: Checkpoint) -> TargetFormat:
    return TargetFormat.QWEN if checkpoint.config.family is Family.QWEN else TargetFormat.QWEN2


def _added_tokens(before: Tokenizer, vocabulary: Vocabulary) -> Sequence[bytes]:
    """The tokens that a vocabulary has more, by id. Raises SettingError where it is not the same otherwise."""
    ids = before.vocabulary.ids
    added = sorted((id, token) for token, id in vocabulary.ids.items() if token not in ids)
    is_same = all(vocabulary.ids.get(token) == id for token, id in ids.items())
    is_after = [id for id, _ in added] == [*range(before.vocab_size, before.vocab_size + len(added))]
    if not (is_same and is_after and vocabulary.control_tokens == before.control_tokens):
        raise SettingError(
            f"{vocabulary.source} is not the vocabulary of {before.vocabulary.source} with tokens added after all "
            "others: extend the model's own"
        )
    if not added:
        raise CheckpointError(
            f"{vocabulary.source} has no token more than {before.vocabulary.source}: nothing to write"
        )
    return [token for _, token in added]


def _replaced(stored: StoredTensor, made: InMemory, *, first: int, rows: int) -> StoredTensor:
    """A matrix with new rows in place of those from `first` on, and zeros or its own rows after them."""
    end, old_rows = first + made.shape[0], stored.shape[0]
    parts: list[StoredTensor] = [SelectedRows(stored, torch.arange(first)), made]
    if end < old_rows:
        parts.append(SelectedRows(stored, torch.arange(end, old_rows)))
    if max(end, old_rows) < rows:
        parts.append(Zeros((rows - max(end, old_rows), *stored.shape[1:]), dtype_of(stored)))
    return Concatenated(parts)
