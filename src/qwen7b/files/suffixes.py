"""How names of files of weights end, GGUF aside; in capitals too, as on disks that know no other."""

from __future__ import annotations

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def is_weights(name: str) -> bool:
    return name.lower().endswith(WEIGHTS)


def is_safetensors(name: str) -> bool:
    return name.lower().endswith(".safetensors")
