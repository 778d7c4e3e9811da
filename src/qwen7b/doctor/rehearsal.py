"""All that loading and a first call do, but reading the weights and computing."""

from __future__ import annotations

from pathlib import Path

from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.checks import check_complete, check_numbers, check_shapes, check_vocabulary
from qwen7b.errors import Report, fail
from qwen7b.generate import Qwen
from qwen7b.model.empty_model import empty_model
from qwen7b.text import load_tokenizer


def rehearse(path: Path) -> Qwen:
    """The model at a path without its weights, after it was asked something, which it did not answer.

    Raises what `qwen7b.load`, and then `chat` or `complete`, would raise.
    """
    checkpoint = open_checkpoint(path)
    tokenizer = load_tokenizer(checkpoint.path)
    check_vocabulary(tokenizer, checkpoint.config, source=checkpoint.path)
    check_weights(checkpoint)
    model = empty_model(checkpoint.config)
    qwen = Qwen(model, tokenizer, generation=checkpoint.generation, name=str(path))
    # The prompt is made and settings are checked at once; the reply only where somebody waits for it.
    (qwen.stream("你好") if qwen.is_chat else qwen.stream_completion("1, 2, 3")).close()
    return qwen


def check_weights(checkpoint: Checkpoint, *, may_lack: bool = False, report: Report = fail) -> None:
    """Whether the tensors fill the model; `may_lack` where it is known that some lack."""
    shapes = {name: parameter.shape for name, parameter in empty_model(checkpoint.config).named_parameters()}
    check_shapes(checkpoint, shapes, report=report)
    if not may_lack:
        check_complete(checkpoint, shapes, report=report)
    check_numbers(checkpoint, report=report)
