"""nanoGPT's own training script for some minutes on given tokens: a task as JSON in, a file of looks out.

Its model, optimizer, loop and loss are its own. What is set from outside: the time ends the run and its learning rate's
cosine, which go by steps as it comes; looks read all held-out text once, in rows, where its own take random pieces; and
bfloat16, which it has on GPUs only, is torch's autocast on a CPU as well. The time of looks does not count.
"""

import json
import math
import os
import pickle
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from train_nanogpt import model_settings

_SCHEDULE = 10_000
"""The steps that nanoGPT believes its schedule to have."""
_LOOP = "# training loop\n"


class Clock:
    """Stands in for nanoGPT's `get_lr`, which its loop calls before each step: looks, rate and the end by the time."""

    def __init__(self, script: dict[str, Any], task: dict[str, Any]) -> None:
        self.script, self.task, self.rate = script, task, script["get_lr"]
        self.limit = 60 * task["minutes"]
        self.every = self.next_look = self.limit / task["looks"]
        self.started: float | None = None
        self.looking = 0.0
        held_out = torch.from_numpy(np.fromfile(task["held_out"], dtype=np.uint16).astype(np.int64))
        rows = (len(held_out) - 1) // task["length"]
        self.inputs, self.targets = (held_out[n : n + rows * task["length"]].view(rows, -1) for n in (0, 1))

    def __call__(self, step: int) -> float:
        if self.started is None:
            self.started = time.monotonic()
        now = time.monotonic() - self.started - self.looking
        if now >= self.next_look:
            self.look(step, now)
            self.looking = time.monotonic() - self.started - now
            self.next_look += self.every
            if now >= self.limit:
                self.script["max_iters"] = -1
        return float(self.rate(round(min(1, now / self.limit) * _SCHEDULE)))

    @torch.no_grad()
    def look(self, step: int, seconds: float) -> None:
        model, nats = self.script["model"], 0.0
        model.eval()
        for start in range(0, len(self.inputs), self.task["rows"]):
            inputs, targets = (rows[start : start + self.task["rows"]] for rows in (self.inputs, self.targets))
            with self.script["ctx"]:
                nats += model(inputs, targets)[1].item() * targets.numel()
        model.train()
        bits = nats / math.log(2) / self.task["held_out_bytes"]
        entry = {"minutes": seconds / 60, "step": step, "bits_per_byte": bits, "cpu_seconds": time.process_time()}
        with Path(self.task["log"]).open("a") as file:
            file.write(json.dumps(entry) + "\n")


def main(task: dict[str, Any]) -> None:
    torch.set_num_threads(task["threads"])
    data = Path(task["file"]) / "data" / "learning"
    data.mkdir(exist_ok=True)
    for split in ("train", "val"):
        (data / f"{split}.bin").unlink(missing_ok=True)
        (data / f"{split}.bin").symlink_to(task["tokens"])
    (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": task["vocabulary"]}))
    settings = {
        "dataset": data.name,
        "out_dir": task["out"],
        "compile": False,
        **model_settings(task),
        "learning_rate": task["learning_rate"],
        "min_lr": task["learning_rate"] / 10,
        "beta2": task["beta2"],
        "warmup_iters": round(0.02 * _SCHEDULE),
        "lr_decay_iters": _SCHEDULE,
        "max_iters": 1 << 40,
        "eval_interval": 1 << 40,
        "always_save_checkpoint": False,
        "log_interval": 50,
    }
    os.chdir(task["file"])
    sys.path.insert(0, task["file"])
    sys.argv = ["train.py", *(f"--{name}={value}" for name, value in settings.items())]
    before, found, loop = Path("train.py").read_text().partition(_LOOP)
    assert found, "this is another train.py"
    script: dict[str, Any] = {"__name__": "__main__"}
    with redirect_stdout(sys.stderr):
        exec(compile(before, "train.py", "exec"), script)
        if task["precision"] == "bfloat16":
            script["ctx"] = torch.autocast("cpu", dtype=torch.bfloat16)
        script["get_lr"] = Clock(script, task)
        script["estimate_loss"] = lambda: {"train": math.nan, "val": math.nan}  # before the first step
        exec(compile(loop, "train.py", "exec"), script)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
