"""The "chat" pipeline that the original documentation taught: a text and a history in, a response and a history out."""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from typing import Any

from transformers import AutoModelForCausalLM, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

TASK = "chat"
MODELSCOPE_NAME = "qwen-7b-chat-pipeline"
"""What the `configuration.json` of Qwen-7B-Chat on ModelScope calls its pipeline."""


class ChatPipeline(Pipeline):  # type: ignore[misc]  # transformers has no types
    """`model.chat` with its tokenizer, as ModelScope's `pipeline(task=Tasks.chat, …)` has it.

    A call takes the keywords of `model.chat`; those given when the pipeline is made are their defaults.

    >>> pipe = transformers.pipeline("chat", model="Qwen-7B-Chat", device_map="auto")  # doctest: +SKIP
    >>> results = pipe("浙江的省会在哪里？", history=None)  # doctest: +SKIP
    >>> results["response"], results["history"]  # doctest: +SKIP
    """

    _load_tokenizer = True
    _load_processor = _load_image_processor = _load_video_processor = _load_feature_extractor = False

    def _sanitize_parameters(self, **settings: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        settings.pop("framework", None)  # ModelScope names it; it is PyTorch
        return {}, settings, {}

    def preprocess(self, inputs: str | dict[str, Any]) -> dict[str, Any]:
        """A text, or {"text": …, "history": …}, which ModelScope's chat pipelines also take."""
        return {"text": inputs} if isinstance(inputs, str) else dict(inputs)

    def _forward(self, inputs: dict[str, Any], **settings: Any) -> dict[str, Any]:
        settings = {"history": None} | settings | inputs
        response, history = self.model.chat(self.tokenizer, settings.pop("text"), **settings)
        return {"response": response, "history": history}

    def postprocess(self, outputs: dict[str, Any]) -> dict[str, Any]:
        return outputs

    def save_pretrained(self, save_directory: str | os.PathLike[str], **settings: Any) -> None:
        """Save the model and the tokenizer; unlike the base class, no code."""
        self.model.save_pretrained(save_directory, **settings)
        self.tokenizer.save_pretrained(save_directory)


def register_chat_pipeline() -> None:
    """Make the pipeline known to transformers, and to ModelScope where it is installed."""
    PIPELINE_REGISTRY.register_pipeline(TASK, pipeline_class=ChatPipeline, pt_model=AutoModelForCausalLM)
    if find_spec("modelscope"):
        _announce_to_modelscope()


def _announce_to_modelscope() -> None:
    """Enter `qwen7b.hf.modelscope` into the index of modules from which ModelScope imports a pipeline on demand.

    Importing it here would import all of ModelScope's pipelines, which takes seconds and libraries that many lack.
    """
    try:
        from modelscope.utils.ast_utils import INDEX_KEY, MODULE_KEY
        from modelscope.utils.import_utils import LazyImportModule

        index = LazyImportModule.get_ast_index()[INDEX_KEY]
    except (ImportError, AttributeError, KeyError) as error:
        warnings.warn(
            f"this release of modelscope has no index of pipelines ({error!r}), so its pipeline(task='chat') will not "
            "find Qwen: run pip install -U modelscope, or use model.chat",
            stacklevel=2,
        )
        return
    index["PIPELINES", TASK, MODELSCOPE_NAME] = {MODULE_KEY: "qwen7b.hf.modelscope"}
