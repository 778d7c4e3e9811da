"""The chat pipeline in ModelScope's registry: `pipeline(task=Tasks.chat, model=folder)` in, a ChatPipeline out.

ModelScope imports this module when a folder's `configuration.json`, or the caller, names the pipeline. A folder without
that file needs nothing here: ModelScope then hands the task to transformers, which knows the pipeline.
"""

from __future__ import annotations

from typing import Any

import transformers
from modelscope.pipelines.builder import PIPELINES
from modelscope.utils.device import create_device

from qwen7b.hf.chat_pipeline import MODELSCOPE_NAMES, TASK


def chat_pipeline(model: str, *, device: str, **settings: Any) -> Any:
    """Make the pipeline. `device` is ModelScope's; its default "gpu" falls back to a CPU, and `device_map` overrides
    it.

    `trust_remote_code` is not passed on: no code is needed, and with it a folder of another model would run its own.
    """
    settings.pop("trust_remote_code", None)
    if settings.get("device_map") is None:
        settings["device"] = create_device(device)
    pipeline: Any = transformers.pipeline  # its types list only the built-in tasks
    return pipeline(TASK, model=model, **settings)


for name in MODELSCOPE_NAMES:
    # `force`, since ModelScope has its own "qwen-chat", which does not run on today's transformers.
    PIPELINES.register_module(TASK, module_name=name, module_cls=chat_pipeline, force=True)
