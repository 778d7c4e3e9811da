"""A model's trained weights in the hands of torch's optimizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from qwen7b.errors import CheckpointError
from qwen7b.files.stored import StoredTensor
from qwen7b.train.optimizer_settings import AdamW, Muon, Optimizer
from qwen7b.train.ranks import ALONE, Ranks


class Optimizers:
    """The optimizers of one model, as one: AdamW, or Muon for the layers' matrices and AdamW for the rest."""

    def __init__(self, settings: Optimizer, model: nn.Module) -> None:
        self.settings = settings
        self.trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        matrices = {name for name in self.trained if is_layer_matrix(name, self.trained[name])}
        self._by_name: dict[str, torch.optim.Optimizer] = {}
        if isinstance(settings, Muon) and matrices:
            self._by_name["muon"] = torch.optim.Muon(
                [parameter for name, parameter in self.trained.items() if name in matrices],
                lr=settings.learning_rate,
                momentum=settings.momentum,
                weight_decay=settings.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        rest = [
            parameter for name, parameter in self.trained.items() if isinstance(settings, AdamW) or name not in matrices
        ]
        if rest:
            groups = [
                {"params": [one for one in rest if one.dim() >= 2], "weight_decay": settings.weight_decay},
                {"params": [one for one in rest if one.dim() < 2], "weight_decay": 0.0},
            ]
            self._by_name["adamw"] = torch.optim.AdamW(
                [group for group in groups if group["params"]],
                lr=settings.learning_rate,
                betas=(settings.beta1, settings.beta2),
                eps=settings.epsilon,
                fused=True,
            )

    def step(self, *, rate: float) -> None:
        """Change the weights by their gradients, at this learning rate."""
        for optimizer in self._by_name.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def zero_grad(self) -> None:
        for parameter in self.trained.values():
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """All that the optimizers remember, by optimizer, parameter and their own name of it."""
        return {
            f"{kind}.{name}.{key}": value
            for kind, name, parameter in self._pairs()
            for key, value in self._by_name[kind].state[parameter].items()
        }

    def restore(self, tensors: Mapping[str, StoredTensor], *, source: str, ranks: Ranks = ALONE) -> None:
        """Remember what `tensors` returned. Raises CheckpointError where it belongs to another model or optimizer."""
        unused = set(tensors)
        for kind, name, parameter in self._pairs():
            state = {key.rpartition(".")[2]: key for key in tensors if key.rpartition(".")[0] == f"{kind}.{name}"}
            for key, full in state.items():
                unused.discard(full)
                stored = tensors[full]
                if key == "step":  # files know no shape ()
                    self._by_name[kind].state[parameter][key] = stored.read_rows(0, 1).reshape(()).to(parameter.device)
                    continue
                if tuple(stored.shape) != tuple(parameter.shape):
                    raise CheckpointError(
                        f"{source} has {full} of shape {tuple(stored.shape)}, but the model's is "
                        f"{tuple(parameter.shape)}: it belongs to another run"
                    )
                value = torch.empty_like(parameter, requires_grad=False)
                first, rows = ranks.own(value)
                if len(rows):
                    rows.copy_(stored.read_rows(first, first + rows.shape[0]))
                self._by_name[kind].state[parameter][key] = value
        if unused:
            raise CheckpointError(f"{source} has {min(unused)}, which this run does not train: it belongs to another")

    def _pairs(self) -> Iterator[tuple[str, str, nn.Parameter]]:
        names = {id(parameter): name for name, parameter in self.trained.items()}
        for kind, optimizer in self._by_name.items():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield kind, names[id(parameter)], parameter


def is_layer_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon may have a weight: a matrix within a layer, neither the embedding's nor the head's."""
    return name.startswith("layers.") and parameter.dim() == 2
