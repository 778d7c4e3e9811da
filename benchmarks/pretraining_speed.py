"""`qwen7b train pretrain`, on the standard library: a task as JSON in, weights and the seconds of each step out."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from qwen7b.train.recipe import Corpus, PretrainRecipe, Shape, Training
from qwen7b.train.recipe_file import recipe_text
from train import write_corpus


def main(task: dict[str, Any]) -> dict[str, Any]:
    assert not task["compile"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = write_corpus(folder)
        recipe = PretrainRecipe(
            model=Shape(
                hidden_size=task["width"],
                num_layers=task["layers"],
                num_heads=task["heads"],
                feed_forward_size=task["feed_forward"],
                family="qwen2",
                tied_head=True,
                vocab_rows=task["vocabulary"],
            ),
            corpus=Corpus(
                tokenizer="tokenizer.json",
                shards=("shards",),
                length=task["length"],
                rows=task["rows"],
                micro_rows=task["rows"],
            ),
            training=Training(steps=task["steps"], precision=task["precision"]),
        )
        (folder / "recipe.toml").write_text(recipe_text(recipe), encoding="utf-8")
        subprocess.run(
            [sys.executable, "-m", "qwen7b", "train", "pretrain", "recipe.toml", "--out", "run"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": str(task["threads"])},
            stdout=sys.stderr,
            check=True,
        )
        lines = [json.loads(line) for line in (folder / "run" / "speed.jsonl").read_text().splitlines()]
    config = recipe.model.config(vocab_size=tokenizer.vocab_size, length=task["length"])
    return {
        "weights": count_weights(parameter_shapes(config)),
        "seconds": [line["seconds"] for line in lines],
        "share_of_peak": lines[-1]["share_of_peak"],
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
