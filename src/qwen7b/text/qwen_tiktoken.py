"""The original's vocabulary file: each line a token, base64 of its bytes, and its id, which is also its rank."""

from __future__ import annotations

import warnings
from base64 import b64decode
from codecs import BOM_UTF8
from collections import Counter
from pathlib import Path

from qwen7b.errors import CheckpointError, counted
from qwen7b.system.regular_file import checkpoint_bytes
from qwen7b.text import patterns
from qwen7b.text.tokenizer_settings import read_folder_settings
from qwen7b.text.vocabulary import Vocabulary

FIRST_CONTROL_ID = 151643
_MAX_BYTES = 1 << 25
CONTROL_NAMES = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{n}|>" for n in range(205)))
QWEN_VOCAB_SIZE = FIRST_CONTROL_ID + len(CONTROL_NAMES)
"""The number of first-generation Qwen's tokens, the control tokens included: 151851, the id of the first extra one."""
EXTRA_VOCABULARY = "qwen_extra.tiktoken"
"""The original's name of a file of extra tokens."""


def read_qwen_tiktoken(path: Path, *, extra: Path | None = None) -> Vocabulary:
    """Read `qwen.tiktoken` and, if given, a file of extra tokens in the same format.

    An extra token is skipped, with a warning, if the vocabulary has it or its id already.
    """
    ids = _read_tokens(path)
    if missing := set(range(FIRST_CONTROL_ID)).difference(ids.values()):
        raise CheckpointError(
            f"{path} is incomplete: {len(missing)} of Qwen's {FIRST_CONTROL_ID} tokens are missing, "
            f"the first has the id {min(missing)}; download it again"
        )
    control_tokens = {name: id for id, name in enumerate(CONTROL_NAMES, start=FIRST_CONTROL_ID)}
    if extra is not None:
        _add_tokens(_read_tokens(extra), ids, control_tokens, extra)
    return Vocabulary(
        source=str(path),
        ids=ids,
        ranks=ids,
        control_tokens=control_tokens,
        pattern=patterns.QWEN,
        nfc=True,
        visible=frozenset(CONTROL_NAMES[3:]),
        settings=read_folder_settings(path.parent),
    )


def _read_tokens(path: Path) -> dict[bytes, int]:
    fields = checkpoint_bytes(path, limit=_MAX_BYTES).removeprefix(BOM_UTF8).split()
    try:
        tokens = {b64decode(token, validate=True): int(id) for token, id in zip(fields[::2], fields[1::2], strict=True)}
    except ValueError as error:
        raise CheckpointError(
            f"{path} is damaged: its lines should be a token in base64 and an id, found: {error}; download it again"
        ) from error
    if len(tokens) * 2 != len(fields):
        repeated = next(token for token, count in Counter(map(b64decode, fields[::2])).items() if count > 1)
        raise CheckpointError(
            f"{path} is damaged: it has {counted(len(fields) // 2, 'line')} but {len(tokens)} different tokens, as "
            f"{repeated.decode(errors='backslashreplace')!r} comes more than once; make the file anew"
        )
    return tokens


def _add_tokens(
    extra_ids: dict[bytes, int], ids: dict[bytes, int], control_tokens: dict[str, int], extra: Path
) -> None:
    used_ids = {*ids.values(), *control_tokens.values()}
    skipped = []
    for token, id in extra_ids.items():
        if token in ids or id in used_ids:
            skipped.append(token)
        else:
            ids[token] = id
            used_ids.add(id)
    if skipped:
        warnings.warn(
            f"{extra}: skipped {counted(len(skipped), 'token')} that the vocabulary has already or whose id is taken, "
            f"the first is {skipped[0].decode(errors='replace')!r}",
            stacklevel=2,
        )
