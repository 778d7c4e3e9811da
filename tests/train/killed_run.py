"""A run that a test starts as a process of its own, to kill it: folder, tokenizer, steps, and the optimizer's kind."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from qwen7b.train.optimizer_settings import AdamW, Muon
from train.tiny_training import run_in

torch.set_num_threads(1)
print("ready", flush=True)
run_in(
    Path(sys.argv[1]),
    Path(sys.argv[2]),
    steps=int(sys.argv[3]),
    optimizer=Muon() if sys.argv[4] == "muon" else AdamW(),
)
