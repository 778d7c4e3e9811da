"""Memory that is given back as soon as it is free."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import psutil, torch
from qwen7b.system.memory import return_large_blocks

if sys.argv[1] == "returned":
    return_large_blocks()
torch.ones(16 << 20, dtype=torch.uint8)  # once it is freed, glibc keeps blocks of this size
kept = []
for _ in range(8):
    block = torch.ones(8 << 20, dtype=torch.uint8)
    kept.append(torch.ones(64 << 10, dtype=torch.uint8))  # lives longer, above it
    another = torch.ones(9 << 20, dtype=torch.uint8)
    del block
del another
print(psutil.Process().memory_info().rss)
"""
"""A process that frees large blocks between which small ones stay."""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_large_blocks_are_given_back() -> None:
    held = {
        kind: int(
            subprocess.run([sys.executable, "-c", PROGRAM, kind], capture_output=True, text=True, check=True).stdout
        )
        for kind in ("kept", "returned")
    }
    assert held["kept"] - held["returned"] > 5 << 20
