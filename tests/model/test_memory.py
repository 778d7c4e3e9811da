"""A long prompt is read in passes: what each takes beside the cache does not grow with it but for a mask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import torch
from random_packed import random_model
import tiny

model = {model}
length = 32768

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

with torch.inference_mode():
    ids = torch.randint(0, 97, (1, 1024))
    model.hidden(ids, cache=model.new_cache(max_length=1024))
    before = peak()
    cache = model.new_cache(max_length=length)
    cache.sequences[0].length = length - 1024  # as if the rest were read
    model.hidden(ids, cache=cache)
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's peak memory from /proc")
@pytest.mark.parametrize(
    "model",
    [
        "tiny.model(num_layers=3, rotary_scaling=None)",
        "tiny.model(num_layers=3, attention_windows=(0, 700, 0), rotary_scaling=None)",
        "random_model(rotary_scaling=None)",
    ],
)
def test_a_long_prompt_takes_little_beside_its_cache(model: str) -> None:
    program, tests = PROGRAM.format(model=model), Path(__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", program], cwd=tests, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 150e6
