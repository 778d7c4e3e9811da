"""A run that a test starts as processes of their own, to kill: folder, tokenizer, steps, the optimizer's kind."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from qwen7b.train.mesh_settings import MeshSettings
from qwen7b.train.optimizer_settings import AdamW, Muon
from qwen7b.train.ranks import joined_ranks
from train.tiny_training import run_in

torch.set_num_threads(1)
with joined_ranks(MeshSettings(timeout=20), device="cpu") as ranks:
    print("ready", flush=True)
    run_in(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        ranks=ranks,
        steps=int(sys.argv[3]),
        optimizer=Muon() if sys.argv[4] == "muon" else AdamW(),
    )
