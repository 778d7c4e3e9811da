"""Names of weight files: which hold weights, which are parts of one model, and which hold no model. Opens no file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
"""The suffixes of weight files other than GGUF, in lower case; names are compared without regard to case."""
GGUF_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
LICENCES = ("LICENSE*", "NOTICE*")
"""Patterns of the files with the licence of the weights, which copies of them must carry."""
# Files beside a model: a vision projector, or the importance matrix of a quantization.
_NO_MODEL = re.compile(r"mmproj|imatrix", re.IGNORECASE)


def is_weights(name: str) -> bool:
    return name.lower().endswith(WEIGHT_SUFFIXES)


def is_safetensors(name: str) -> bool:
    return name.lower().endswith(".safetensors")


def is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def gguf_models(names: Iterable[str]) -> dict[str, list[str]]:
    """The GGUF files of each model among these names, by the first file; names may contain folders.

    >>> gguf_models(["a-00002-of-00002.gguf", "a-00001-of-00002.gguf", "mmproj-a.gguf", "README.md"])
    {'a-00001-of-00002.gguf': ['a-00001-of-00002.gguf', 'a-00002-of-00002.gguf']}
    """
    models: dict[str, list[str]] = {}
    for name in sorted(names):
        if is_gguf(name) and not _NO_MODEL.search(PurePosixPath(name).name):
            part = GGUF_PART.fullmatch(name)
            models.setdefault(f"{part['stem']}-of-{part['count']}" if part else name, []).append(name)
    return {files[0]: files for files in models.values()}
