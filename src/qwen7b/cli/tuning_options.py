"""The options that the verbs of training share, and what fine-tuning makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from qwen7b.cli import options
from qwen7b.cli.tool_options import DialectName
from qwen7b.errors import SettingError
from qwen7b.system.progress import is_first_rank
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.adapters.settings import LoraSettings
    from qwen7b.train.finetune_recipe import TuningRecipe

Shards: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--shards",
        metavar="N",
        min=1,
        help="With torchrun: ranks that share one copy of the weights; by default all.",
    ),
]
RankTimeout: TypeAlias = Annotated[
    float,
    typer.Option(
        "--rank-timeout",
        metavar="SECONDS",
        help="With torchrun: how long a rank waits for another before the run ends.",
    ),
]
Out: TypeAlias = Annotated[
    Path, typer.Option("--out", metavar="RUN", help="The run's folder; one that was stopped goes on.")
]
Lora: TypeAlias = Annotated[
    bool, typer.Option("--lora", help="Train an adapter beside the weights; by default all weights are trained.")
]
Rank: TypeAlias = Annotated[int | None, typer.Option("--rank", metavar="N", help="The adapter's rank.  [default: 64]")]
Alpha: TypeAlias = Annotated[
    float | None, typer.Option("--alpha", metavar="X", help="The adapter's weight is alpha / rank.  [default: 16]")
]
Dropout: TypeAlias = Annotated[
    float | None, typer.Option("--dropout", metavar="P", help="Dropout before the adapter.  [default: 0.05]")
]
Targets: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--targets",
        metavar="LIST",
        help="Layers with an adapter, as in c_attn,w1; by default all; none: only the rows of --control-rows.",
    ),
]
ControlRows: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--control-rows/--no-control-rows",
        help="Train the rows of <|im_start|> and <|im_end|> beside the adapter; by default where they look untrained, "
        "as in base models.",
    ),
]
Quantize: TypeAlias = Annotated[
    options.PackedFormat | None,
    typer.Option(
        "--quantize", help="With --lora: hold the model's own weights in 8 or 4 bits (QLoRA); by default floats."
    ),
]
Steps: TypeAlias = Annotated[
    int | None, typer.Option("--steps", metavar="N", min=1, help="Steps to train for, in place of --epochs.")
]
MicroTokens: TypeAlias = Annotated[
    int, typer.Option("--micro-tokens", metavar="N", min=1, help="Tokens that are computed at once.")
]
FormatOfProducts: TypeAlias = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option("--precision", help="What products are computed in; auto: what a probe finds faster."),
]
Recompute: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--recompute", help="Compute layers again and give memory back at once: less memory, up to twice the time."
    ),
]
SaveEvery: TypeAlias = Annotated[int, typer.Option("--save-every", metavar="N", min=1, help="Steps between two saves.")]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same run.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningOptions:
    """The options that all fine-tuning has, as typed."""

    out: Out
    model: options.Model = "demo"
    lora: Lora = False
    rank: Rank = None
    alpha: Alpha = None
    dropout: Dropout = None
    targets: Targets = None
    control_rows: ControlRows = None
    quantize: Quantize = None
    dialect: DialectName = None
    steps: Steps = None
    micro_tokens: MicroTokens = 4096
    precision: FormatOfProducts = "auto"
    recompute: Recompute = False
    save_every: SaveEvery = 200
    seed: Seed = 0
    device: options.Device = "auto"
    shards: Shards = None
    rank_timeout: RankTimeout = 600.0
    threads: options.Threads = None
    offline: options.Offline = False
    as_json: options.Json = False

    def run(self, train: Callable[..., Path], kind: type[TuningRecipe], data: Sequence[Path], **own: Any) -> None:
        """Have `train` follow a recipe of this kind, with `own` settings, and say where the last step is saved."""
        from qwen7b.train.mesh_settings import MeshSettings

        options.set_threads(self.threads)
        recipe = kind(
            model=self.model,
            data=tuple(map(str, data)),
            dialect=self.dialect,
            micro_tokens=self.micro_tokens,
            steps=self.steps,
            seed=self.seed,
            precision=self.precision,
            activation_checkpointing=self.recompute,
            save_every=self.save_every,
            quantize=self.quantize,
            lora=self._lora_settings(),
            **own,
        )
        saved = train(
            recipe,
            self.out,
            control_rows=self.control_rows,
            device=self.device,
            mesh=MeshSettings(shards=self.shards, timeout=self.rank_timeout),
            offline=self.offline or None,
        )
        self._show(saved)

    def _lora_settings(self) -> LoraSettings | None:
        """The adapter's settings; None where all weights are trained."""
        given = {"rank": self.rank, "alpha": self.alpha, "dropout": self.dropout}
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if not self.lora:
            others = {"targets": self.targets, "control-rows": self.control_rows, "quantize": self.quantize}
            if wrong := [name for name, value in {**given, **others}.items() if value is not None]:
                raise SettingError(f"--{wrong[0]} is a setting of an adapter: give --lora, too, or leave it out")
            return None
        from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings
        from qwen7b.checkpoint import open_checkpoint
        from qwen7b.hub import locate

        family = open_checkpoint(locate(self.model, offline=self.offline or None)).config.family
        listed = self.targets
        names = DEFAULT_TARGETS[family] if listed is None else tuple(name.strip() for name in listed.split(","))
        return LoraSettings(targets=() if names == ("none",) else names, **chosen)

    def _show(self, saved: Path) -> None:
        """Say where a run has saved its last step, and what to do with it."""
        if not is_first_rank():
            return
        if self.as_json:
            print_json({"run": str(self.out), "saved": str(saved), "adapter": self.lora})
            return
        typer.echo(f"Saved in {saved}.")
        use = f"--model {self.model} --adapter {saved}" if self.lora else f"--model {saved}"
        typer.echo(f"Try it: qwen7b chat {use}\nAs a model of its own: qwen7b train merge {self.out} FOLDER")
