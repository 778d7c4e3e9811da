"""The options that several verbs share, each declared once."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from qwen7b.errors import SettingError
from qwen7b.packed.formats import FORMATS
from qwen7b.system.container import usable_cores

if TYPE_CHECKING:
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
