"""The options that several verbs share, each declared once, and the settings made from them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from qwen7b.config.long_context import parse_method
from qwen7b.errors import SettingError
from qwen7b.packed.formats import FORMATS
from qwen7b.system.container import usable_cores

if TYPE_CHECKING:
    from qwen7b import Qwen
    from qwen7b.text import Tokenizer

    PackedFormat: TypeAlias = str
    LoadedFormat: TypeAlias = str
else:  # typer lists and accepts the formats' own names
    PackedFormat = Literal[tuple(FORMATS)]
    LoadedFormat = Literal[(*FORMATS, "auto", "none")]


class Precision(StrEnum):
    """The number formats that a model can compute in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def _known_names(incomplete: str) -> list[str]:
    from qwen7b.hub import KNOWN_MODELS

    return [name for name in KNOWN_MODELS if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        autocompletion=_known_names,
        help="A name (see qwen7b models), a folder, a .gguf file or a hub id.",
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="Where to compute: auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.")
]
Dtype = Annotated[Precision | None, typer.Option("--dtype", help="Number format; by default the device's best.")]
Quantize = Annotated[
    LoadedFormat | None,
    typer.Option(
        "--quantize",
        help="Pack the weights: faster and smaller. auto, the default on a CPU: q8, or q4 where memory is short; "
        "none: floats.",
    ),
]
LongContext = Annotated[
    str | None,
    typer.Option(
        "--long-context",
        metavar="METHOD",
        help="How to go beyond the trained length, as in ntk+logn+window, yarn:4 or none; by default the model's way.",
    ),
]
ContextLength = Annotated[
    int | None,
    typer.Option(
        "--context-length",
        metavar="N",
        min=2,
        help="Tokens a sequence may have; by default the model's, with --long-context 4 times its trained length.",
    ),
]
Ntk = Annotated[
    Literal["recompute", "original", "reserve"],
    typer.Option(
        "--ntk",
        help="When dynamic NTK chooses its scaling. recompute: again whenever a sequence outgrows it; original: for "
        "the prompt only, as the original did; reserve: once, for prompt and reply.",
    ),
]
Speculate = Annotated[
    str,
    typer.Option(
        "--speculate",
        metavar="none|ngram|MODEL",
        help="Draft tokens and have the model check several at once, for speed; replies stay the same. ngram: drafts "
        "from the text so far; ngram-pool: from other requests too; MODEL: by a smaller model of the same vocabulary.",
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        metavar="FOLDER",
        help="Add a LoRA adapter in PEFT's format, as qwen7b train sft --lora writes it: its folder, or the run's.",
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", help="CPU threads; by default one a core.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]
PromptCache = Annotated[
    str | None,
    typer.Option(
        "--prompt-cache",
        metavar="FOLDER",
        help="Keep prompts in this folder, with their keys and values, so that later starts need not read them again.",
    ),
]
PromptCacheGb = Annotated[
    int | None,
    typer.Option(
        "--prompt-cache-gb",
        metavar="N",
        min=1,
        help="The most that the --prompt-cache folder may take; by default 10 GB.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens",
        metavar="N",
        min=1,
        help="End the reply after N tokens; by default as the model's files say, else 512.",
    ),
]
Chats = Annotated[
    bool | None,
    typer.Option("--chat/--base", help="Whether the model was trained to chat; by default as its files say."),
]
ControlTokens = Annotated[
    bool | None,
    typer.Option(
        "--control-tokens/--no-control-tokens",
        help="Let <|im_start|>, <|fim_prefix|> and their like be control tokens, not text; by default they are text, "
        "but a prompt that is plainly written in them is refused.",
    ),
]


def _check_stop(stop: list[str] | None) -> list[str] | None:
    if stop is not None and "" in stop:
        raise SettingError("--stop is empty: give the text to stop at")
    return stop


Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", metavar="TEXT", callback=_check_stop, help="End the reply before this text; repeatable."),
]
AlwaysBest = Annotated[
    bool, typer.Option("--greedy", help="Always take the likeliest token; the same as temperature 0.")
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", metavar="X", help="Below 1 safer, above 1 more varied, 0 greedy.")
]
TopK = Annotated[
    int | None, typer.Option("--top-k", metavar="K", help="Choose among the K likeliest tokens; 0: among all.")
]
TopP = Annotated[
    float | None, typer.Option("--top-p", metavar="P", help="Choose among the likeliest tokens that make up P of 1.")
]
MinP = Annotated[
    float | None, typer.Option("--min-p", metavar="P", help="Drop tokens less likely than P times the likeliest.")
]
RepetitionPenalty = Annotated[
    float | None, typer.Option("--repetition-penalty", metavar="X", help="Above 1: repeat less.")
]
PresencePenalty = Annotated[
    float | None,
    typer.Option("--presence-penalty", metavar="X", help="Above 0: prefer words new to the reply; from -2 to 2."),
]
FrequencyPenalty = Annotated[
    float | None,
    typer.Option("--frequency-penalty", metavar="X", help="The same, the more so the more often the reply has a word."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="The same seed gives the same reply.")]


def check_threads(threads: int | None) -> None:
    cores = usable_cores()
    if threads is not None and not 1 <= threads <= cores:
        raise SettingError(f"--threads must lie between 1 and {cores}, the cores this process may use, found {threads}")


def set_threads(threads: int | None) -> None:
    """Set the number of CPU threads; None means one per usable core."""
    check_threads(threads)
    import torch

    from qwen7b import kernels

    if threads is None:  # torch does not know the CPU limit of a container
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
        return
    torch.set_num_threads(threads)
    kernels.set_num_threads(threads)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
    """Which model to load, and how."""

    model: str
    device: str
    dtype: Precision | None
    threads: int | None
    offline: bool
    quantize: str | None = None
    long_context: str | None = None
    context_length: int | None = None
    chat: bool | None = None
    prompt_cache: str | None = None
    prompt_cache_gb: int | None = None
    speculate: str = "none"
    dialect: str | None = None
    adapter: str | None = None
    """The adapter to add to the weights."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Those beside them, by name."""

    def __post_init__(self) -> None:
        check_threads(self.threads)
        if self.prompt_cache_gb is not None and self.prompt_cache is None:
            raise SettingError("--prompt-cache-gb limits the folder of --prompt-cache: give that too")
        if self.long_context is not None:
            parse_method(self.long_context)  # raises here, before a model is loaded

    def set_threads(self) -> None:
        set_threads(self.threads)

    def find(self) -> None:
        """Fetch the model unless it is on this machine. Raises Qwen7bError if there is none with its name."""
        from qwen7b.hub import locate

        locate(self.model, offline=self.offline or None)

    def load(self, *, must_chat: bool = False) -> Qwen:
        """Load the model. With `must_chat` a base model is refused before its weights are loaded."""
        tokenizer = self._import_torch()
        import torch

        import qwen7b

        self.set_threads()
        dtype = None if self.dtype is None else getattr(torch, self.dtype.value)
        others: dict[str, Any] = {"chat": self.chat, "must_chat": must_chat or None, "tokenizer": tokenizer}
        others["prompt_cache"] = self.prompt_cache and os.path.expanduser(self.prompt_cache)
        others["prompt_cache_bytes"] = self.prompt_cache_gb and self.prompt_cache_gb * 10**9
        others["dialect"] = self.dialect
        others["adapter"] = self.adapter and os.path.expanduser(self.adapter)
        others["adapters"] = {name: os.path.expanduser(path) for name, path in self.adapters.items()} or None
        others["speculate"] = None if self.speculate == "none" else self.speculate
        # None lets the environment variable for offline use decide.
        return qwen7b.load(
            self.model,
            device=self.device,
            dtype=dtype,
            offline=self.offline or None,
            quantize=self.quantize,
            long_context=self.long_context,
            context_length=self.context_length,
            **{name: value for name, value in others.items() if value is not None},
        )

    def _import_torch(self) -> Tokenizer | None:
        """Import torch and, while its library loads, read the tokenizer if an earlier run has cached it."""
        if "torch" in sys.modules:
            return None
        from qwen7b.hub import locate
        from qwen7b.packing.kept_tokenizer import find_kept_tokenizer
        from qwen7b.system.importing import loading_torch_library, quick_imports

        path = locate(self.model, offline=self.offline or None)
        with quick_imports():
            with loading_torch_library():
                tokenizer = find_kept_tokenizer(path)
            import torch  # noqa: F401
        return tokenizer
