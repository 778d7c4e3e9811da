"""Transformers' Trainer, on a new Qwen2: a task as JSON in, weights and the seconds of each step out."""

import json
import sys
import tempfile
import time
from typing import Any

import torch
import transformers


class Clock(transformers.TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())


def main(task: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(task["threads"])
    config = transformers.Qwen2Config(
        vocab_size=task["vocabulary"],
        hidden_size=task["width"],
        intermediate_size=task["feed_forward"],
        num_hidden_layers=task["layers"],
        num_attention_heads=task["heads"],
        num_key_value_heads=task["heads"],
        max_position_embeddings=task["length"],
        tie_word_embeddings=True,
    )
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_config(config)
    ids = torch.randint(0, task["vocabulary"], (task["steps"] * task["rows"], task["length"]))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        settings = transformers.TrainingArguments(
            output_dir=folder,
            max_steps=task["steps"],
            per_device_train_batch_size=task["rows"],
            bf16=task["precision"] == "bfloat16",
            torch_compile=task["compile"],
            use_cpu=True,
            weight_decay=0.1,
            adam_beta2=0.95,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        rows: Any = [{"input_ids": row, "labels": row} for row in ids]
        trainer = transformers.Trainer(model=model, args=settings, train_dataset=rows, callbacks=[clock])
        trainer.train()
    seconds = [after - before for before, after in zip(clock.times, clock.times[1:], strict=False)]
    return {"weights": sum(parameter.numel() for parameter in model.parameters()), "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
