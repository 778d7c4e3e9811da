"""What torch's distributed checkpoints write to: safetensors files, as one process would write them, to the byte.

Each rank writes the rows that it holds into their place of the one file; the first then joins the checksums. So a step
that many ranks saved is read by any number of them, by one process, and by every program that knows the format.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from qwen7b.files.tensor_file import TensorFile


class StepWriter(StorageWriter):
    """Writes a step's tensors into files."""

    def __init__(self, files: Sequence[TensorFile]) -> None:
        self.files = files

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        pass

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        pass

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Make the files: the first rank does so before any rank may write."""
        for file in self.files:
            file.create()
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        results = []
        for item in plan.items:
            values = planner.resolve_data(item)
            assert isinstance(values, torch.Tensor) and item.tensor_data is not None
            offsets = item.tensor_data.chunk.offsets
            first_row = offsets[0] if offsets else 0
            for file in self.files:
                written = file.write(item.index.fqn, values.detach(), first_row=first_row)
                num_bytes = sum(part.num_bytes for part in written)
                results.append(WriteResult(index=item.index, size_in_bytes=num_bytes, storage_data=written))
        for file in self.files:
            file.sync()
        done: Future[list[WriteResult]] = Future()
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        written = [part for of_rank in results for result in of_rank for part in result.storage_data]
        for file in self.files:
            file.seal(written)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return False
