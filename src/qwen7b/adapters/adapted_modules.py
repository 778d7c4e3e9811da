"""A model's modules with an adapter that can be trained: the base's weights stay as they are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qwen7b.adapters.adapter import Adapter
from qwen7b.adapters.settings import LoraSettings, find_targets
from qwen7b.checkpoint.tensor_names import Place, folder_names
from qwen7b.errors import CheckpointError, SettingError
from qwen7b.model import Transformer
from qwen7b.packed.unpacking import UnpackingLinear, let_gradients_through


class LowRank(nn.Module):
    """scale · B(A(dropout(x))), for `num_rows` rows of a linear layer from `first_row` on.

    A begins as a linear layer's weights do and B with zeros, so that nothing changes at first, as in PEFT.
    """

    def __init__(self, settings: LoraSettings, *, num_columns: int, first_row: int, num_rows: int) -> None:
        super().__init__()
        self.first_row, self.num_rows = first_row, num_rows
        self.scale, self.dropout = settings.scale, settings.dropout
        self.a = nn.Parameter(torch.empty(settings.rank, num_columns))
        self.b = nn.Parameter(torch.zeros(num_rows, settings.rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        dropped = F.dropout(x, self.dropout, training=self.training)
        return F.linear(F.linear(dropped, self.a.to(x.dtype)), self.b.to(x.dtype)) * self.scale


class AdaptedLinear(nn.Module):
    """A linear layer and what is added to it; query, key and value have one each where the checkpoint keeps them apart.

    The additions go by the names of their layers in the checkpoint, with ":" for each dot.
    """

    def __init__(self, base: nn.Linear | UnpackingLinear) -> None:
        super().__init__()
        self.base = base
        self.additions = nn.ModuleDict()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x)
        for addition in self.additions.values():
            assert isinstance(addition, LowRank)
            y[..., addition.first_row : addition.first_row + addition.num_rows] += addition(x)
        return y


class TokenRows(nn.Module):
    """Rows of an embedding or a head that are trained as a whole, in place of the base's."""

    ids: Tensor

    def __init__(self, ids: Tensor, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("ids", ids, persistent=False)
        self.rows = nn.Parameter(rows.detach().float().clone())


class AdaptedEmbedding(nn.Module):
    """An embedding, packed or not, with some rows trained."""

    def __init__(self, base: nn.Module, token_rows: TokenRows) -> None:
        super().__init__()
        self.base, self.token_rows = base, token_rows

    def forward(self, ids: Tensor) -> Tensor:
        x: Tensor = self.base(ids)
        is_token = ids[..., None] == self.token_rows.ids
        own = is_token.to(x.dtype) @ self.token_rows.rows.to(x.dtype)
        return torch.where(is_token.any(-1, keepdim=True), own, x)


class AdaptedHead(nn.Module):
    """A head with some rows trained."""

    def __init__(self, base: nn.Linear | UnpackingLinear, token_rows: TokenRows) -> None:
        super().__init__()
        self.base, self.token_rows = base, token_rows

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.base(x)
        own = F.linear(x, self.token_rows.rows.to(x.dtype)).to(logits.dtype)
        return logits.index_copy(-1, self.token_rows.ids, own)


def add_adapter(model: Transformer, settings: LoraSettings) -> None:
    """Add a new adapter to a model, whose own weights no longer ask for gradients; they may be packed (QLoRA).

    Raises SettingError for a target that the model lacks and for a token without a row.
    """
    if settings.token_ids and max(settings.token_ids) >= model.config.vocab_rows:
        raise SettingError(f"token id {max(settings.token_ids)} is outside the model's {model.config.vocab_rows} rows")
    if not settings.targets and not settings.token_ids:
        raise SettingError("an adapter without targets and without tokens' rows changes nothing: give some")
    model.requires_grad_(False)
    let_gradients_through(model)
    by_module: defaultdict[str, dict[str, Place]] = defaultdict(dict)
    for stem, place in find_targets(model.config, settings.targets).items():
        by_module[place.parameter.removesuffix(".weight")][stem] = place
    for name, places in by_module.items():
        base = model.get_submodule(name)
        assert isinstance(base, (nn.Linear, UnpackingLinear))
        adapted = AdaptedLinear(base)
        for stem, place in places.items():
            num_rows = place.num_rows or base.out_features
            with torch.device(model.device):
                addition = LowRank(settings, num_columns=base.in_features, first_row=place.first_row, num_rows=num_rows)
            adapted.additions[stem.replace(".", ":")] = addition
        model.set_submodule(name, adapted)
    if settings.token_ids:
        _add_token_rows(model, settings.token_ids)
    model.train(model.training)  # new modules have dropout, until they are told


def _add_token_rows(model: Transformer, ids: tuple[int, ...]) -> None:
    embedding, head = model.get_submodule("embedding"), model.get_submodule("head")
    assert isinstance(head, (nn.Linear, UnpackingLinear))
    places = torch.tensor(ids, device=model.device)
    rows = head_rows = TokenRows(places, embedding(places))
    if not model.config.tied_head:
        head_rows = TokenRows(places, head.weight[places] if isinstance(head, nn.Linear) else head.matrix.rows(places))
    model.set_submodule("embedding", AdaptedEmbedding(embedding, rows))
    model.set_submodule("head", AdaptedHead(head, head_rows))


def fill_adapter(
    model: Transformer,
    adapter: Adapter,
    *,
    settings: LoraSettings,
    source: str,
    fill: Callable[[Tensor, Tensor], object] = Tensor.copy_,
) -> None:
    """Give the adapter that `add_adapter` added another one's numbers, each tensor by `fill`.

    Raises CheckpointError where it does not fit.
    """
    own = adapter_of(model, settings)
    pairs = [(own.token_rows[stem], adapter.token_rows.get(stem)) for stem in own.token_rows]
    for stem, matrices in own.factors.items():
        pairs += zip(matrices, adapter.factors.get(stem, (None, None)), strict=True)
    fits = all(theirs is not None and mine.shape == theirs.shape for mine, theirs in pairs)
    if not fits or adapter.factors.keys() != own.factors.keys() or adapter.token_ids != own.token_ids:
        raise CheckpointError(f"{source} holds another adapter than this model has: start in another folder")
    with torch.no_grad():
        for mine, theirs in pairs:
            assert theirs is not None
            fill(mine, theirs)


def adapter_of(model: Transformer, settings: LoraSettings) -> Adapter:
    """The adapter that `add_adapter` added with these settings, as it is now: its tensors share the model's memory."""
    factors, token_rows = {}, {}
    for module in model.modules():
        if isinstance(module, AdaptedLinear):
            for name, addition in module.additions.items():
                assert isinstance(addition, LowRank)
                factors[name.replace(":", ".")] = (addition.a.detach(), addition.b.detach())
    stems = {parameter: stem for stem, parameter in folder_names(model.config).outer.items()}
    for parameter in ("embedding", "head") if not model.config.tied_head else ("embedding",):
        module = model.get_submodule(parameter)
        if isinstance(module, (AdaptedEmbedding, AdaptedHead)):
            token_rows[stems[parameter]] = module.token_rows.rows.detach()
    return Adapter(
        settings=settings,
        factors=factors,
        token_rows=token_rows,
        token_ids=dict.fromkeys(token_rows, settings.token_ids),
    )
