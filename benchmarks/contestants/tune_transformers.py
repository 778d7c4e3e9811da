"""Transformers' Trainer with PEFT's LoRA on a checkpoint folder: a task as JSON in, the process's peak memory out."""

import json
import resource
import sys
import tempfile
from typing import Any

import peft
import torch
import transformers


def main(task: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(task["threads"])
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(task["file"], dtype=torch.float32)
    lora: Any = peft.LoraConfig(r=task["rank"], lora_alpha=16, target_modules=task["targets"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, lora)
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ids = torch.randint(0, 1000, (task["tokens"],))
    rows: Any = [{"input_ids": ids, "labels": ids}] * task["steps"]
    with tempfile.TemporaryDirectory() as folder:
        settings = transformers.TrainingArguments(
            output_dir=folder,
            max_steps=task["steps"],
            per_device_train_batch_size=1,
            gradient_checkpointing=task["checkpointing"],
            use_cpu=True,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        transformers.Trainer(model=model, args=settings, train_dataset=rows).train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_after_loading_mb": round(loaded * 1024 / 1e6), "peak_mb": round(peak * 1024 / 1e6)}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
