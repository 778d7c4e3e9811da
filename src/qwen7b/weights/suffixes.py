"""How names of files of weights end, GGUF aside."""

from __future__ import annotations

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
