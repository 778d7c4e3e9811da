"""Names of files of weights: which hold them, which are parts of one model, and which are no model. Opens none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
"""How the names end, GGUF's aside; in capitals too, as on disks that know no other."""
PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
# What goes along with a model: the eyes of another model, or what a quantization was weighed by.
_NO_MODEL = re.compile(r"mmproj|imatrix", re.IGNORECASE)


def is_weights(name: str) -> bool:
    return name.lower().endswith(WEIGHTS)


def is_safetensors(name: str) -> bool:
    return name.lower().endswith(".safetensors")


def is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def gguf_models(names: Iterable[str]) -> dict[str, list[str]]:
    """The files of each model among names, with or without folders, by the first of them.

    >>> gguf_models(["a-00002-of-00002.gguf", "a-00001-of-00002.gguf", "mmproj-a.gguf", "README.md"])
    {'a-00001-of-00002.gguf': ['a-00001-of-00002.gguf', 'a-00002-of-00002.gguf']}
    """
    models: dict[str, list[str]] = {}
    for name in sorted(names):
        if is_gguf(name) and not _NO_MODEL.search(PurePosixPath(name).name):
            part = PART.fullmatch(name)
            models.setdefault(f"{part['stem']}-of-{part['count']}" if part else name, []).append(name)
    return {files[0]: files for files in models.values()}
