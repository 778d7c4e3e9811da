"""A run that a test starts as processes of their own, to kill: folder, tokenizer, steps, the optimizer's kind.

With a fifth argument rank 1 kills itself before that step, if torchrun has not yet started it again.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from qwen7b.train import loop
from qwen7b.train.mesh_settings import MeshSettings
from qwen7b.train.optimizer_settings import AdamW, Muon
from qwen7b.train.ranks import joined_ranks
from train.tiny_training import run_in

take_step = loop.take_step


def dying_step(*arguments: Any, step: int, **named: Any) -> Any:
    if step == int(sys.argv[5]):
        os.kill(os.getpid(), signal.SIGKILL)
    return take_step(*arguments, step=step, **named)


if len(sys.argv) > 5 and (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0"):
    loop.take_step = dying_step
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
