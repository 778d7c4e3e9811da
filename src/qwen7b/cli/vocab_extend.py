"""`qwen7b vocab extend`: tokens for a language that a vocabulary is poor in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options
from qwen7b.errors import SettingError, counted
from qwen7b.system.progress import shown_size
from qwen7b.terminal.streams import print_json
from qwen7b.vocab.row_initials import Initial

if TYPE_CHECKING:
    from qwen7b.convert import GrownModel
    from qwen7b.vocab import Extension


def extend(
    corpus: Annotated[list[str], typer.Argument(metavar="CORPUS…", help="Texts to learn from: files, or folders.")],
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", min=1, help="How many tokens to add at most.")],
    model: options.Model = "demo",
    extra: Annotated[
        Path | None,
        typer.Option("--extra", metavar="FILE", help="A qwen_extra.tiktoken to go on from, for a qwen.tiktoken."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DST",
            help="What to write: qwen_extra.tiktoken (the added tokens in the original's form), a tokenizer.json, or a "
            "folder: the model with rows for them.",
        ),
    ] = None,
    min_frequency: Annotated[
        int | None,
        typer.Option("--min-frequency", metavar="N", min=1, help="How often a token must occur.  [default: 10]"),
    ] = None,
    script: Annotated[
        list[str] | None,
        typer.Option(
            "--script", metavar="NAME", help="Add only tokens of this script, such as Greek or Thai; repeatable."
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="PATH", help="Texts whose ids must stay as they are; repeatable."),
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="PATH", help="Texts to count the tokens of, before and after; repeatable."),
    ] = None,
    init: Annotated[
        Initial | None,
        typer.Option("--init", help="For a folder: what the new rows are made of.  [default: mean-norm]"),
    ] = None,
    chats: options.Chats = None,
    offline: options.Offline = False,
    as_json: options.Json = False,
) -> None:
    """Add the tokens that a corpus needs most to a vocabulary.

    Byte-pair encoding goes on where the vocabulary ends, as tiktoken merges. Every added token is proven to be
    reachable. With --script no text without a character of that script ever changes. Without --out nothing is written.

    A new row is the mean of the rows of a token's parts, as long as these are on average (mean-norm), or that mean as
    it is, random or zero, to compare. The model must be trained on before the tokens are of use.
    """
    from qwen7b.vocab.extended_vocabulary import VOCABULARY_SUFFIXES

    is_folder = out is not None and out.suffix not in VOCABULARY_SUFFIXES
    if not is_folder:
        for option, value in (("--init", init), ("--chat/--base", chats)):
            if value is not None:
                raise SettingError(
                    f"{option} is about the model that a folder holds: give --out a folder, or leave it out"
                )
    elif extra is not None:
        raise SettingError("--extra is for a qwen.tiktoken by itself: a model's folder names its own")
    from qwen7b import load_tokenizer
    from qwen7b.vocab import check_target, extend_vocabulary, named_group, write_extended
    from qwen7b.vocab.extension import DEFAULT_MIN_FREQUENCY

    tokenizer = load_tokenizer(model, extra_vocabulary=extra, offline=offline or None)
    if out is not None and is_folder:
        from qwen7b.convert import check_growing

        check_growing(model, out, offline=offline or None)
    elif out is not None:
        check_target(out, tokenizer)
    extension = extend_vocabulary(
        tokenizer,
        [named_group(place) for place in corpus],
        num_tokens=tokens,
        min_frequency=DEFAULT_MIN_FREQUENCY if min_frequency is None else min_frequency,
        scripts=script or (),
        keep=[named_group(place) for place in keep or ()],
        check=[named_group(place) for place in check or ()],
    )
    grown = None
    if out is not None and is_folder:
        from qwen7b.convert import grow

        grown = grow(
            model, out, extension.vocabulary, initial=init or Initial.MEAN_NORM, chat=chats, offline=offline or None
        )
    elif out is not None:
        write_extended(extension.vocabulary, out)
    if as_json:
        print_json(extension.as_document() | ({} if grown is None else {"model": grown.as_document()}))
    else:
        typer.echo("\n".join(_report(extension, out, grown)))


def _report(extension: Extension, out: Path | None, grown: GrownModel | None) -> list[str]:
    from qwen7b.vocab.extended_vocabulary import ORIGINAL_ROWS, is_original, rows_for

    added, before, after = len(extension.learned), extension.corpus_tokens_before, extension.corpus_tokens_after
    ids = f", ids {extension.first_id} to {extension.first_id + added - 1}" if added else ""
    where = f" in {out}" if out else ""
    lines = [f"{counted(added, 'token')} added{where}{ids}, each proven reachable, in {extension.seconds:.0f} s."]
    if added < extension.asked:
        lines.append(
            f"{added} are fewer than the {extension.asked} asked for: nothing else that may be added occurs "
            f"{extension.min_frequency} times."
        )
    lines.append(f"corpus: {before:,} tokens before, {after:,} after, {1 - after / before:.1%} fewer.")
    lines += [
        f"{texts.name}: {texts.tokens_before:,} tokens before, {texts.tokens_after:,} after, {texts.fewer:.1%} fewer; "
        f"the ids of {counted(texts.changed_texts, 'text')} of {texts.texts} changed."
        for texts in extension.checked
    ]
    if extension.partial:
        lines.append(
            f"{counted(extension.partial, 'token')} of them are parts of characters, as steps towards whole ones."
        )
    lines += [f"{counted(count, 'join')} not added: {reason}." for reason, count in extension.refusals.items()]
    if extension.long_pieces:
        lines.append(f"{counted(extension.long_pieces, 'piece')} of more than 1,000 bytes were not learned from.")
    if grown is not None:
        lines.append(
            f"{grown.target}: {shown_size(grown.bytes)}, {grown.rows_after:,} rows where {grown.rows_before:,} were, "
            f"{grown.free_rows} of them free; new rows by {grown.initial.value}. Over the old tokens logits differ by "
            f"at most {grown.largest_logit_difference:.2g}."
        )
    elif is_original(extension.vocabulary) and added:
        free, vocab_size = ORIGINAL_ROWS - extension.first_id, extension.first_id + added
        rows = rows_for(vocab_size, ORIGINAL_ROWS)
        lines.append(
            f"The original models have {free} free rows: "
            + ("these suffice." if rows == ORIGINAL_ROWS else f"embedding and head must grow to {rows:,} rows.")
        )
    return lines
