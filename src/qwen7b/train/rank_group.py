"""Ranks by torch.distributed: FSDP2 shares out the weights, and its distributed checkpoints write them.

    a copy       the mesh's first axis, "copies": each of its groups holds all weights; one copy is plain FSDP
    a shard      the second, "shards": each rank of a group holds some rows of every parameter
    a layer      its weights are gathered before it is computed, and its gradients summed and shared out after

Gradients are summed and never averaged: the loop divides each loss by the number of targets of the whole step, which a
mean over ranks would not know, and Gloo's mean is a sum (https://github.com/pytorch/pytorch/issues/162338).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_saver import async_save, save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from qwen7b.errors import Qwen7bError, SettingError, TrainingError, counted
from qwen7b.files.tensor_file import TensorFile
from qwen7b.model import Transformer
from qwen7b.system.progress import num_ranks
from qwen7b.train.mesh_settings import MeshSettings
from qwen7b.train.step_writer import StepWriter

T = TypeVar("T")
_NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class _Called(nn.Module):
    """Any function of a model as the forward of a module, around which FSDP gathers what is outside of the layers."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        return function(self.model, *arguments, **named)


class RankGroup:
    """The ranks that torchrun started, of which this process is one."""

    def __init__(self, settings: MeshSettings, *, device: torch.device) -> None:
        self.rank, self.num_ranks, self.device = dist.get_rank(), dist.get_world_size(), device
        copies, self.num_shards = settings.shape(self.num_ranks)
        self.num_neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if device.type == "cpu" else 1
        self.mesh = init_device_mesh(device.type, (copies, self.num_shards), mesh_dim_names=("copies", "shards"))
        self.writes_aside = device.type == "cuda"
        """Whether saved steps are copied to the host and written while the device computes on."""
        self._writers = dist.new_group(backend="gloo")  # their messages must not mix with those of the loop

    def sums(self, *numbers: float) -> tuple[float, ...]:
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total)
        return tuple(total.tolist())

    def on_first(self, work: Callable[[], T]) -> T:
        outcome: list[Any] = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = work()
            except (Qwen7bError, OSError) as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=0)
        result, refused = outcome
        if refused is not None:
            raise refused
        return result  # type: ignore[no-any-return]

    def gather(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.num_ranks
        dist.all_gather_object(values, value)
        return values

    def first_found(self, text: str | None) -> str | None:
        texts = enumerate(self.gather(text))
        return next((f"{one} (rank {rank})" for rank, one in texts if one is not None), None)

    def shard(self, model: Transformer, *, dtype: torch.dtype) -> None:
        # One copy needs no axis of copies; with it each gradient would be summed over a group of one as well.
        mesh = self.mesh if self.mesh.shape[0] > 1 else self.mesh["shards"]
        lower = None if dtype == torch.float32 else dtype
        # Inputs are left as they are: the angles of positions need float32, and the loss's autocast sees to the rest.
        layers = MixedPrecisionPolicy(param_dtype=lower, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for layer in model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=layers)
        root = _Called(model)
        fully_shard(root, mesh=mesh, mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32))
        for module in root.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)
                module.set_gradient_divide_factor(1.0)
        assert isinstance(root, FSDPModule)
        root.set_reduce_scatter_unused_params(True)  # a part without a target leaves the head without a gradient
        self._root: Any = root
        self._dtype = dtype

    def run(self, function: Callable[..., T], model: Transformer, *arguments: Any, **named: Any) -> T:
        assert self._root.model is model
        result: T = self._root(function, *arguments, **named)
        if not torch.is_grad_enabled():  # nothing comes after the forward that would share it out again
            self._root.reshard()
        return result

    @contextmanager
    def using(self, model: Transformer) -> Iterator[None]:
        assert self._root.model is model
        self._root.unshard()
        try:
            with torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype != torch.float32):
                yield
        finally:
            self._root.reshard()

    def own(self, tensor: Tensor) -> tuple[int, Tensor]:
        if not isinstance(tensor, DTensor):
            return 0, tensor
        own, num_rows = tensor.to_local(), tensor.shape[0]
        each = -(-num_rows // self.num_shards)  # as torch.chunk divides them
        first = min(self.mesh.get_local_rank("shards") * each, num_rows)
        assert len(own) == min(each, num_rows - first)
        return first, own

    def whole(self, tensor: Tensor) -> Tensor:
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def write(self, files: Sequence[TensorFile], tensors: Mapping[str, Tensor]) -> Future[Any]:
        writer, state = StepWriter(files), dict(tensors)
        done: Future[Any] = Future()
        if self.writes_aside:
            saving = async_save(state, storage_writer=writer, process_group=self._writers)
            assert isinstance(saving, Future)
            saving.add_done_callback(lambda saved: _pass_on(saved.exception(), done))
            return done
        try:
            save(state, storage_writer=writer, process_group=self._writers)
            _pass_on(None, done)
        except CheckpointException as error:
            _pass_on(error, done)
        return done


def _pass_on(error: BaseException | None, done: Future[Any]) -> None:
    """Tell that files are written, or what hindered the first rank that could not."""
    if error is None:
        done.set_result(None)
    elif isinstance(error, CheckpointException):
        done.set_exception(next(iter(error.failures.values()))[0])
    else:
        done.set_exception(error)


@contextmanager
def joined_group(settings: MeshSettings, *, device: str) -> Iterator[RankGroup]:
    """Join the group that the environment describes, and leave it at the end; one that is joined already is used.

    A rank that is lost shows itself as an error in the others: at once where its connection breaks, else after the
    settings' timeout.
    """
    if missing := [name for name in _NEEDED if name not in os.environ]:
        raise SettingError(
            f"WORLD_SIZE asks for several ranks, but the environment lacks {missing[0]}: start them by torchrun"
        )
    place, is_joined = torch.device(device), dist.is_initialized()
    if place.type not in ("cpu", "cuda") or place.index is not None:
        raise SettingError(f"several ranks compute on cpu, or on cuda with one GPU each, found {device}")
    if place.type == "cuda":
        place = torch.device("cuda", torch.cuda.current_device() if is_joined else int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    try:
        if not is_joined:
            backend = "gloo" if place.type == "cpu" else "cpu:gloo,cuda:nccl"
            dist.init_process_group(backend, timeout=timedelta(seconds=settings.timeout))
        yield RankGroup(settings, device=place)
    except RuntimeError as error:
        if not _is_of_the_others(error):
            raise
        raise TrainingError(
            f"rank {os.environ['RANK']} has lost {counted(num_ranks() - 1, 'other rank')} "
            f"({str(error).splitlines()[0]:.200}): look at their own messages, then start all ranks again, and the run "
            "goes on from its last saved step"
        ) from error
    if not is_joined:
        dist.destroy_process_group()


def _is_of_the_others(error: RuntimeError) -> bool:
    """Whether an error is about the connection to other ranks; Gloo has no type for it."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
