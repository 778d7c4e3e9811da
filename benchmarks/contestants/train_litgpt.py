"""LitGPT's own pretraining, on random tokens: a task as JSON in, weights and the seconds of each step out.

It always compiles; where it shall not, torch is told to run what it would compile as it is.
"""

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any


def main(task: dict[str, Any]) -> dict[str, Any]:
    if not task["compile"]:
        os.environ["TORCHDYNAMO_DISABLE"] = "1"
    import lightning
    import torch
    from litgpt import Config, pretrain
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.data import DataModule
    from torch.utils.data import DataLoader

    class Random(DataModule):  # type: ignore[misc, unused-ignore]
        def connect(self, *_: Any, **__: Any) -> None:
            pass

        def train_dataloader(self) -> Any:
            ids = torch.randint(0, task["vocabulary"], (task["steps"] * task["rows"], task["length"] + 1))
            rows: Any = list(ids)
            return DataLoader(rows, batch_size=task["rows"])

        val_dataloader = train_dataloader

    torch.set_num_threads(task["threads"])
    config = Config(
        block_size=task["length"],
        vocab_size=task["vocabulary"],
        padded_vocab_size=task["vocabulary"],
        n_layer=task["layers"],
        n_head=task["heads"],
        n_embd=task["width"],
        intermediate_size=task["feed_forward"],
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        attn_bias=True,
    )
    fabric = lightning.Fabric(
        accelerator="cpu", devices=1, precision={"float32": "32-true", "bfloat16": "bf16-mixed"}[task["precision"]]
    )
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(printed):
        pretrain.main(
            fabric=fabric,
            devices=1,
            seed=0,
            initial_checkpoint_dir=None,
            resume=False,
            config=config,
            data=Random(),
            out_dir=Path(folder),
            tokenizer_dir=None,
            tokenizer=None,
            train=TrainArgs(
                save_interval=None,
                global_batch_size=task["rows"],
                micro_batch_size=task["rows"],
                lr_warmup_steps=1,
                max_tokens=task["steps"] * task["rows"] * task["length"],
                max_norm=1.0,
                tie_embeddings=True,
            ),
            eval=EvalArgs(interval=10**9, max_iters=1, final_validation=False),
            optimizer="AdamW",
        )
    weights = re.search(r"Total parameters: ([\d,]+)", printed.getvalue())
    assert weights is not None, printed.getvalue()
    seconds = [float(found) / 1e3 for found in re.findall(r"iter time: ([\d.]+) ms", printed.getvalue())]
    return {"weights": int(weights[1].replace(",", "")), "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
