"""The processes that train one model together, each with its rank; a process that was started alone is the plain case.

`torchrun` starts the same command many times and tells each of them by the environment which it is. All that a run asks
of the others is here; how they are asked is in `rank_group.py`, which a process alone never imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from qwen7b.files.tensor_file import TensorFile
from qwen7b.model import Transformer
from qwen7b.system.progress import num_ranks
from qwen7b.train.mesh_settings import MeshSettings

T = TypeVar("T")


class Ranks(Protocol):
    """What the ranks of a run do together. All of them must call the same methods in the same order."""

    rank: int
    """Which one this process is, from 0."""
    num_ranks: int
    num_shards: int
    """The ranks that share one copy of weights and optimizer."""
    device: torch.device
    """Where this rank computes."""
    num_neighbours: int
    """The ranks that take their memory from where this one does, itself included."""

    def sums(self, *numbers: float) -> tuple[float, ...]:
        """Add up each number over all ranks."""

    def on_first(self, work: Callable[[], T]) -> T:
        """Do some work on rank 0 alone; every rank gets its result, or the error that it raised."""

    def gather(self, value: T) -> list[T]:
        """What each rank has, in their order."""

    def first_found(self, text: str | None) -> str | None:
        """The text of the first rank that has one."""

    def shard(self, model: Transformer, *, dtype: torch.dtype) -> None:
        """Leave each rank its rows of every parameter; products will be computed in `dtype`."""

    def run(self, function: Callable[..., T], model: Transformer, *arguments: Any, **named: Any) -> T:
        """Call a function of the model, which has its parameters whole for that time."""

    def using(self, model: Transformer) -> AbstractContextManager[object]:
        """Have all that is outside of the layers whole for a while; a layer is whole when it is called."""

    def own(self, tensor: Tensor) -> tuple[int, Tensor]:
        """The number of the first row of a tensor that this rank holds, and those rows; perhaps none."""

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor whose rows the ranks share, as each of them can use it."""

    def write(self, files: Sequence[TensorFile], tensors: Mapping[str, Tensor]) -> Future[Any]:
        """Begin to write files, of which each rank writes the rows that it holds; the result tells that all are done.

        The tensors may change as soon as this returns.
        """


class OneProcess:
    """All ranks of a process that was started alone."""

    rank, num_ranks, num_shards, num_neighbours = 0, 1, 1, 1

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def sums(self, *numbers: float) -> tuple[float, ...]:
        return numbers

    def on_first(self, work: Callable[[], T]) -> T:
        return work()

    def gather(self, value: T) -> list[T]:
        return [value]

    def first_found(self, text: str | None) -> str | None:
        return text

    def shard(self, model: Transformer, *, dtype: torch.dtype) -> None:
        pass

    def run(self, function: Callable[..., T], model: Transformer, *arguments: Any, **named: Any) -> T:
        return function(model, *arguments, **named)

    def using(self, model: Transformer) -> AbstractContextManager[object]:
        return nullcontext()

    def own(self, tensor: Tensor) -> tuple[int, Tensor]:
        return 0, tensor

    def whole(self, tensor: Tensor) -> Tensor:
        return tensor

    def write(self, files: Sequence[TensorFile], tensors: Mapping[str, Tensor]) -> Future[Any]:
        for file in files:
            file.create()
            file.seal([written for key, tensor in tensors.items() for written in file.write(key, tensor)])
        done: Future[Any] = Future()
        done.set_result(None)
        return done


ALONE = OneProcess()


@torch.no_grad()
def fill(tensor: Tensor, whole: Tensor, *, ranks: Ranks) -> None:
    """Give a tensor, of which this rank holds some rows, the numbers of a whole one."""
    first, rows = ranks.own(tensor)
    rows.copy_(whole[first : first + rows.shape[0]])


@contextmanager
def joined_ranks(settings: MeshSettings, *, device: str) -> Iterator[Ranks]:
    """Join the ranks that this process was started with, and leave them at the end.

    Raises SettingError where the environment or the settings do not fit, and TrainingError where another rank is lost.
    """
    settings.shape(num_ranks())
    if num_ranks() == 1:
        yield OneProcess(device)
        return
    from qwen7b.train.rank_group import joined_group

    with joined_group(settings, device=device) as group:
        yield group
