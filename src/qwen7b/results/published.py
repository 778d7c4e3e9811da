"""The scores that the original published, at its release and of tools later too, each with how it was measured.

A row stands only beside a run of the same procedure, split and number of examples, over the whole split. The original's
tables give other models' scores too, without saying who measured them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from qwen7b.results.saved_run import SavedRun
from qwen7b.tasks.hf_agent import SELECTED, USED
from qwen7b.tasks.plugin import FALSE_SCORE, INPUT_SCORE
from qwen7b.tasks.procedure import Procedure


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """How published scores were measured, if nothing else is said by the scripts of the release."""

    task: str
    shots: int
    items: int | None
    """How many items the whole split has; None where that is not known."""
    split: str = "test"
    chat: bool = False
    procedure: Procedure = Procedure.ORIGINAL_2023_08


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A row of a published table."""

    model: str
    score: float
    measured: Measured
    measure: str = ""
    """Which of a task's further scores it is; empty for the score itself."""
    precision: str = ""
    """Empty where the table does not say."""
    memory: str = ""


MAIN_COLUMNS = (
    Measured(task="mmlu", shots=5, items=14042),
    Measured(task="ceval", shots=5, items=12342),
    Measured(task="gsm8k", shots=8, items=1319),
    Measured(task="humaneval", shots=0, items=164),
    Measured(task="wmt22-en-zh", shots=5, items=2037),
)
MAIN: dict[str, tuple[float | None, ...]] = {
    "LLaMA-7B": (35.1, None, 11.0, 10.5, 8.7),
    "LLaMA 2-7B": (45.3, None, 14.6, 12.8, 17.9),
    "Baichuan-7B": (42.3, 42.8, 9.7, 9.2, 26.6),
    "ChatGLM2-6B": (47.9, 51.7, 32.4, 9.2, None),
    "InternLM-7B": (51.0, 52.8, 31.2, 10.4, 14.8),
    "Baichuan-13B": (51.6, 53.6, 26.6, 12.8, 30.0),
    "LLaMA-13B": (46.9, 35.5, 17.8, 15.8, 12.0),
    "LLaMA 2-13B": (54.8, None, 28.7, 18.3, 24.2),
    "ChatGLM2-12B": (56.2, 61.6, 40.9, None, None),
    "Qwen-7B": (56.7, 59.6, 51.6, 24.4, 30.6),
}
"""The README's table of pretrained models. Its C-Eval is that of the test split, scored by C-Eval's site."""

_CEVAL_VAL = Measured(task="ceval", shots=5, items=1346, split="val")
_CHAT_CEVAL = Measured(task="ceval", shots=0, items=1346, split="val", chat=True)

OTHERS = (
    Published(model="Qwen-7B", score=60.8, measured=_CEVAL_VAL),
    Published(model="Qwen-7B", score=24.3, measured=Measured(task="wmt22-zh-en", shots=5, items=1875)),
    Published(model="Qwen-7B-Chat", score=53.9, measured=Measured(task="mmlu", shots=0, items=14042, chat=True)),
    Published(model="Qwen-7B-Chat", score=54.2, measured=_CHAT_CEVAL),
    Published(model="Qwen-7B-Chat", score=54.6, measured=Measured(task="ceval", shots=0, items=12342, chat=True)),
    Published(model="Qwen-7B-Chat", score=41.1, measured=Measured(task="gsm8k", shots=0, items=1319, chat=True)),
    Published(model="Qwen-7B-Chat", score=43.5, measured=Measured(task="gsm8k", shots=4, items=1319, chat=True)),
    Published(model="Qwen-7B-Chat", score=21.3, measured=Measured(task="humaneval", shots=0, items=164, chat=True)),
)
"""Scores of Qwen-7B and Qwen-7B-Chat in the technical memo's tables that the README does not have."""

PRECISIONS = (
    Published(model="Qwen-7B", score=56.7, measured=MAIN_COLUMNS[0], precision="BF16", memory="16.2G"),
    Published(model="Qwen-7B", score=52.8, measured=MAIN_COLUMNS[0], precision="Int8", memory="10.1G"),
    Published(model="Qwen-7B", score=48.9, measured=MAIN_COLUMNS[0], precision="NF4", memory="7.4G"),
)
"""The README's table of precisions on MMLU; Int8 and NF4 are those of bitsandbytes."""

_PLUGINS = Measured(task="plugin", shots=0, items=None, split="v1", chat=True)
_NEW_PLUGINS = replace(_PLUGINS, split="v20231206", procedure=Procedure.ORIGINAL_2023_12)
_AGENT = Measured(task="hf-agent", shots=0, items=None, split="transformers", chat=True)
_MEASURES = {"plugin": ("", INPUT_SCORE, FALSE_SCORE), "hf-agent": (SELECTED, USED, "")}
"""The columns of the tables of tools: of each task the score and its further ones."""
_TOOL_SCORES: tuple[tuple[Measured, str, tuple[float | None, ...]], ...] = (
    (_PLUGINS, "GPT-4", (95.0, 0.90, 15.0)),
    (_PLUGINS, "GPT-3.5", (85.0, 0.88, 75.0)),
    (_PLUGINS, "Qwen-7B-Chat", (99.0, 0.89, 9.7)),
    (_PLUGINS, "Qwen-7B-Chat, before a correction", (None, None, 8.5)),
    (_PLUGINS, "Qwen-7B-Chat of 2023-09", (98.0, 0.91, 7.3)),
    (_PLUGINS, "Qwen-14B-Chat", (98.0, 0.93, 2.4)),
    (_NEW_PLUGINS, "GPT-4", (98.0, 0.953, 23.9)),
    (_NEW_PLUGINS, "GPT-3.5", (74.5, 0.807, 80.6)),
    (_NEW_PLUGINS, "Qwen-1.8B-Chat", (85.0, 0.839, 27.6)),
    (_NEW_PLUGINS, "Qwen-7B-Chat", (95.5, 0.900, 11.6)),
    (_NEW_PLUGINS, "Qwen-14B-Chat", (96.9, 0.917, 5.6)),
    (_NEW_PLUGINS, "Qwen-72B-Chat", (98.2, 0.927, 1.1)),
    (_AGENT, "GPT-4", (100.0, 100.0, 97.41)),
    (_AGENT, "GPT-3.5", (95.37, 96.30, 87.04)),
    (_AGENT, "StarCoder-15.5B", (87.04, 87.96, 68.89)),
    (_AGENT, "Qwen-7B-Chat", (90.74, 92.59, 74.07)),
)
TOOLS = tuple(
    Published(model=model, score=score, measured=measured, measure=measure)
    for measured, model, scores in _TOOL_SCORES
    for measure, score in zip(_MEASURES[measured.task], scores, strict=True)
    if score is not None
)
"""The READMEs' tables of tools."""

_PRECISION_NAMES = {"BF16": "bfloat16"}
"""What a signature calls a precision; those of bitsandbytes are none of qwen7b's own formats."""


def published_rows() -> list[Published]:
    """All rows of all tables."""
    main = [
        Published(model=model, score=score, measured=measured)
        for measured, scores in zip(MAIN_COLUMNS, zip(*MAIN.values(), strict=True), strict=True)
        for model, score in zip(MAIN, scores, strict=True)
        if score is not None
    ]
    return [*main, *OTHERS, *PRECISIONS, *TOOLS]


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """The published rows of a run's task: those to set beside it, and the others with why not."""

    comparable: tuple[Published, ...]
    apart: tuple[tuple[Published, tuple[str, ...]], ...]


def beside(run: SavedRun) -> Beside:
    """Which published rows a run may stand beside."""
    comparable, apart = [], []
    for row in published_rows():
        if row.measured.task == run.signature["task"]:
            if why := list(_obstacles(row, run.signature)):
                apart.append((row, tuple(why)))
            else:
                comparable.append(row)
    return Beside(comparable=tuple(comparable), apart=tuple(apart))


def _obstacles(row: Published, signature: Mapping[str, Any]) -> Iterator[str]:
    """What makes a row and a run of its task two different things."""
    measured = row.measured
    if bool(signature["chat"]) != measured.chat:
        yield "it was asked in a chat" if measured.chat else "it was not asked in a chat"
    if signature["procedure"] != measured.procedure:
        yield f"its procedure is {measured.procedure}"
    if signature["split"] != measured.split:
        yield f"it is of the split {measured.split}"
    if signature["shots"] != measured.shots:
        yield f"it is {measured.shots}-shot"
    if measured.items is None:
        if signature["limit"] is not None:
            yield f"it is of all items, the run of {signature['items']:,}"
    elif signature["split"] == measured.split and signature["items"] != measured.items:
        yield f"it is of all {measured.items:,} items, the run of {signature['items']:,}"
    if row.precision and _PRECISION_NAMES.get(row.precision) != signature["precision"]:
        yield f"its weights are {row.precision}"
