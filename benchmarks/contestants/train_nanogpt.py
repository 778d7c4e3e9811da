"""nanoGPT's own training script, on random tokens: a task as JSON in, weights and the seconds of each step out.

On a CPU it computes in float32 alone. Its model is GPT-2's, with as many weights in each layer as the others'.
"""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np


def model_settings(task: dict[str, Any]) -> dict[str, Any]:
    """nanoGPT's settings of the model and the batches that a task asks for."""
    return {
        "device": "cpu",
        "dtype": task["precision"],
        "n_layer": task["layers"],
        "n_head": task["heads"],
        "n_embd": task["width"],
        "block_size": task["length"],
        "batch_size": task["rows"],
        "gradient_accumulation_steps": 1,
    }


def main(task: dict[str, Any]) -> dict[str, Any]:
    clone = Path(task["file"])
    data = clone / "data" / "random"
    data.mkdir(exist_ok=True)
    for split in ("train", "val"):
        np.random.default_rng(0).integers(0, task["vocabulary"], 1 << 20).astype(np.uint16).tofile(
            data / f"{split}.bin"
        )
    (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": task["vocabulary"]}))
    settings = {
        "dataset": "random",
        "out_dir": str(clone / "out-random"),
        "compile": task["compile"],
        **model_settings(task),
        "max_iters": task["steps"],
        "eval_iters": 1,
        "log_interval": 1,
    }
    run = subprocess.run(
        [sys.executable, "train.py", *(f"--{name}={value}" for name, value in settings.items())],
        cwd=clone,
        env={**os.environ, "OMP_NUM_THREADS": str(task["threads"])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    millions = re.search(r"number of parameters: ([\d.]+)M", run.stdout)
    assert millions is not None, run.stdout
    positions = task["length"] * task["width"]  # which nanoGPT does not count
    seconds = [float(found) / 1e3 for found in re.findall(r"^iter \d+: .* time ([\d.]+)ms", run.stdout, re.MULTILINE)]
    return {"weights": round(float(millions[1]) * 1e6) + positions, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
