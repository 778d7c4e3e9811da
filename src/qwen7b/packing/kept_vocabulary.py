"""A tokenizer as a file in the cache: numbers and bytes in columns, which are quick to read.

sha256      of all that follows, 32 bytes
a line      JSON: the version, what it was read from, the number of tokens, Vocabulary's other fields, and its
            ChatML, where that is its chat format
columns     of each token the length, the id and the rank, as int32, -1 for none; then the bytes of all
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from io import BufferedReader
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError
from qwen7b.system.regular_file import open_regular
from qwen7b.text import patterns
from qwen7b.text.chatml import ChatML
from qwen7b.text.tokenizer import Tokenizer
from qwen7b.text.tokenizer_settings import TokenizerSettings
from qwen7b.text.vocabulary import Vocabulary

_VERSION = 1
_NONE = -1
_MAX_LINE = 1 << 22
_TEXT, _TEXT_OR_NONE = (str,), (str, type(None))
# The fields that are kept, and the types that JSON has for them.
OTHER_FIELDS: dict[str, tuple[type, ...]] = {
    "source": _TEXT,
    "control_tokens": (dict,),
    "pattern": _TEXT,
    "nfc": (bool,),
    "visible": (list,),
    "settings": (dict,),
}
SETTINGS: dict[str, tuple[type, ...]] = {
    "chat_template": _TEXT_OR_NONE,
    "chat_template_source": _TEXT,
    "special_tokens": (dict,),
    "bos": _TEXT_OR_NONE,
    "bos_source": _TEXT,
    "ends": (dict,),
}
CHATML: dict[str, tuple[type, ...]] = {"default_system": _TEXT_OR_NONE, "bos": _TEXT_OR_NONE, "by_parts": (bool,)}


def as_kept(tokenizer: Tokenizer, *, source: str) -> bytes:
    """The content of the file; `source` identifies the tokenizer's files and their state."""
    vocabulary, chat_format = tokenizer.vocabulary, tokenizer.chat_format
    ids, ranks = vocabulary.ids, vocabulary.ranks
    tokens = list(ids | ranks)
    fields = {name: getattr(vocabulary, name) for name in OTHER_FIELDS}
    fields |= {"visible": sorted(vocabulary.visible), "settings": asdict(vocabulary.settings)}
    head = {
        "version": _VERSION,
        "source": source,
        "num_tokens": len(tokens),
        "fields": fields,
        "chatml": asdict(chat_format) if isinstance(chat_format, ChatML) else None,
    }
    columns = ([len(token) for token in tokens], *([of.get(token, _NONE) for token in tokens] for of in (ids, ranks)))
    packed = (struct.pack(f"<{len(tokens)}i", *column) for column in columns)
    body = b"".join((json.dumps(head).encode(), b"\n", *packed, *tokens))
    return hashlib.sha256(body).digest() + body


def from_kept(data: bytes, *, source: str) -> Tokenizer | None:
    """The tokenizer; None where the file is damaged, of another version or made from another source."""
    if hashlib.sha256(memoryview(data)[32:]).digest() != data[:32]:
        return None
    try:
        line_end = data.index(b"\n", 32) + 1
        head = json.loads(data[32:line_end])
        if (head["version"], head["source"]) != (_VERSION, source):
            return None
        fields, chatml, count = head["fields"], head["chatml"], head["num_tokens"]
        if not _have_types(fields, OTHER_FIELDS) or not _have_types(fields["settings"], SETTINGS):
            return None
        names = [
            *fields["visible"],
            *fields["settings"]["special_tokens"].values(),
            *fields["settings"]["ends"].values(),
        ]
        if set(map(type, names)) - {str} or fields["pattern"] not in vars(patterns).values():
            return None
        if chatml is not None and not _have_types(chatml, CHATML):
            return None
        fields |= {"visible": frozenset(fields["visible"]), "settings": TokenizerSettings(**fields["settings"])}
        lengths, ids, ranks = (struct.unpack_from(f"<{count}i", data, line_end + 4 * count * i) for i in range(3))
        ends = list(accumulate(lengths, initial=line_end + 12 * count))
        if min(lengths) < 0 or ends[-1] != len(data):
            return None
        tokens = [data[start:end] for start, end in pairwise(ends)]
        vocabulary = Vocabulary(**fields, ids=_numbered(tokens, ids), ranks=_numbered(tokens, ranks))
    except (AttributeError, CheckpointError, LookupError, RecursionError, TypeError, ValueError, struct.error):
        return None  # such a file has a valid hash, so someone wrote it on purpose
    return Tokenizer(vocabulary, chat_format=None if chatml is None else ChatML(**chatml))


def source_of_kept(path: Path) -> str | None:
    """The source that a cached file names; None where it cannot be read."""
    try:
        with BufferedReader(open_regular(path)) as file:
            file.seek(32)
            source = json.loads(file.readline(_MAX_LINE))["source"]
    except (OSError, CheckpointError, LookupError, RecursionError, TypeError, ValueError):
        return None
    return source if isinstance(source, str) else None


def _have_types(fields: Any, types: Mapping[str, tuple[type, ...]]) -> bool:
    return fields.keys() == types.keys() and all(type(fields[name]) in types[name] for name in types)


def _numbered(tokens: list[bytes], numbers: tuple[int, ...]) -> dict[bytes, int]:
    number_of = dict(zip(tokens, numbers, strict=True))
    return {token: number for token, number in number_of.items() if number != _NONE} if _NONE in numbers else number_of
