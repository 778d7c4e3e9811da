"""The "chat" pipeline of the original documentation: a text and a history in, a response and a history out."""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from typing import Any

from transformers import AutoModelForCausalLM, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from qwen7b.errors import PromptError, quoted

TASK = "chat"
MODELSCOPE_NAMES = ("qwen-chat", "qwen-7b-chat-pipeline")
"""The names that Qwen chat models on ModelScope use for their pipeline in `configuration.json`."""


class ChatPipeline(Pipeline):
    """A pipeline that calls `model.chat` with its tokenizer, like ModelScope's `pipeline(task=Tasks.chat, …)`.

    A call takes the keywords of `model.chat`; those passed when the pipeline is made are the defaults. It returns
    {"response": …, "history": …}.

    >>> pipe = transformers.pipeline("chat", model="Qwen-7B-Chat", device_map="auto")  # doctest: +SKIP
    >>> results = pipe("浙江的省会在哪里？", history=None)  # doctest: +SKIP
    """

    model: Any
    tokenizer: Any
    _load_tokenizer: Any = True
    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False

    def _sanitize_parameters(self, **settings: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        settings.pop("framework", None)  # ModelScope passes it; only PyTorch is possible
        return {}, settings, {}

    def preprocess(self, input_: str | dict[str, Any], **_: Any) -> dict[str, Any]:
        """Take a text, or {"text": …, "history": …}, which ModelScope's chat pipelines also accept."""
        if isinstance(input_, str):
            return {"text": input_}
        if "text" not in input_:
            raise PromptError(f"the chat pipeline takes a text, or a 'text' and a 'history', found {quoted(input_)}")
        return dict(input_)

    def _forward(self, input_tensors: dict[str, Any], **settings: Any) -> Any:
        settings = {"history": None} | settings | input_tensors
        response, history = self.model.chat(self.tokenizer, settings.pop("text"), **settings)
        return {"response": response, "history": history}

    def postprocess(self, model_outputs: Any, **_: Any) -> Any:
        return model_outputs

    def save_pretrained(self, save_directory: str | os.PathLike[str], **settings: Any) -> None:
        """Save the model and the tokenizer, but unlike the base class no code."""
        self.model.save_pretrained(save_directory, **settings)
        self.tokenizer.save_pretrained(save_directory)


def register_chat_pipeline() -> None:
    """Register the pipeline with Transformers, and with ModelScope if it is installed."""
    PIPELINE_REGISTRY.register_pipeline(TASK, pipeline_class=ChatPipeline, pt_model=AutoModelForCausalLM)
    if find_spec("modelscope"):
        _announce_to_modelscope()


def _announce_to_modelscope() -> None:
    """Add `qwen7b.hf.modelscope_pipeline` to the index from which ModelScope imports pipelines on demand.

    Importing it here would import all of ModelScope's pipelines, which takes seconds and many more libraries.
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
    for name in MODELSCOPE_NAMES:
        index["PIPELINES", TASK, name] = {MODULE_KEY: "qwen7b.hf.modelscope_pipeline"}
