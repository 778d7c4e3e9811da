"""`qwen7b eval wmt22-en-zh` and `wmt22-zh-en`: texts, translated by a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli.evaluate_tasks import Chosen, run_task
from qwen7b.errors import SettingError

if TYPE_CHECKING:
    from qwen7b.tasks.wmt22 import TextPair

Source = Annotated[
    Path | None, typer.Option("--src", metavar="FILE", help="The text to translate, instead of --data; with --ref.")
]
Reference = Annotated[Path | None, typer.Option("--ref", metavar="FILE", help="Its translation, line by line.")]
ShotsSource = Annotated[
    Path | None,
    typer.Option("--shots-src", metavar="FILE", help="Another text, to take examples from; with --shots-ref."),
]
ShotsReference = Annotated[Path | None, typer.Option("--shots-ref", metavar="FILE", help="Its translation.")]


def _translation(name: str, help: str) -> Callable[..., None]:
    """The verb of one direction."""

    def verb(
        chosen: Chosen,
        src: Source = None,
        ref: Reference = None,
        shots_src: ShotsSource = None,
        shots_ref: ShotsReference = None,
    ) -> None:
        from qwen7b.tasks.wmt22 import DIRECTIONS

        texts = text_pair("--src", src, "--ref", ref)
        if texts is not None:
            if chosen.data is not None:
                raise SettingError("the texts are in a folder or in two files: give --data, or --src and --ref")
            chosen = replace(chosen, data=texts.source.parent)
        run_task(DIRECTIONS[name](texts, text_pair("--shots-src", shots_src, "--shots-ref", shots_ref)), chosen)

    verb.__name__, verb.__doc__ = name, help
    return verb


wmt22_en_zh = _translation(
    "wmt22-en-zh",
    """Translate WMT22's texts from English to Chinese.

    The folder has en-zh.src.en and en-zh.ref.zh, or the files that sacrebleu fetches: wmt22.en-zh.src and
    wmt22.en-zh.ref-A. The score is BLEU. Needs the extra eval.

    By the original's procedures, 5 examples come from the texts to translate, and the BLEU is of words that jieba cut:
    it cannot be compared with any BLEU of Chinese by sacrebleu's tokenizer zh. The standard procedure has that
    tokenizer, and shows examples only out of --shots-src and --shots-ref, by default none.
    """,
)
wmt22_zh_en = _translation(
    "wmt22-zh-en",
    """Translate WMT22's texts from Chinese to English.

    The folder has zh-en.src.zh and zh-en.ref.en, or the files that sacrebleu fetches: wmt22.zh-en.src and
    wmt22.zh-en.ref-A. The score is BLEU. Needs the extra eval.

    By the original's procedures, 5 examples come from the texts to translate. The standard procedure shows examples
    only out of --shots-src and --shots-ref, by default none.
    """,
)


def text_pair(
    source_option: str, source: Path | None, reference_option: str, reference: Path | None
) -> TextPair | None:
    """The two files, where they are given. Raises SettingError for one without the other."""
    if source is None and reference is None:
        return None
    if source is None or reference is None:
        given, missing = source_option, reference_option
        if source is None:
            given, missing = missing, given
        raise SettingError(f"{given} is given without {missing}: a text and its translation belong together")
    from qwen7b.tasks.wmt22 import TextPair

    return TextPair(source=source, reference=reference)
