"""First-generation Qwen and its dense successors: load a model, chat, complete, tokenize.

    >>> import qwen7b
    >>> qwen = qwen7b.load("demo")                         # doctest: +SKIP
    >>> qwen.chat("1+1=?", sampling=qwen7b.Greedy()).text  # doctest: +SKIP
    '1+1=2'

Importing this package is cheap: a name's module, and torch with it, is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from qwen7b.errors import (
    CheckpointError,
    DownloadError,
    MissingExtraError,
    ModelNotFoundError,
    PromptError,
    Qwen7bError,
    ResourceError,
    SandboxError,
    SettingError,
    ToolServerError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from qwen7b.config import ModelConfig
    from qwen7b.generate import Greedy, Piece, Qwen, Reply, Sample, Score, load
    from qwen7b.loading import load_model, load_tokenizer
    from qwen7b.text import Message, chat_prompt
    from qwen7b.tools import Agent

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "CheckpointError",
    "DownloadError",
    "Greedy",
    "Message",
    "MissingExtraError",
    "ModelConfig",
    "ModelNotFoundError",
    "Piece",
    "PromptError",
    "Qwen",
    "Qwen7bError",
    "Reply",
    "ResourceError",
    "Sample",
    "SandboxError",
    "Score",
    "SettingError",
    "ToolServerError",
    "UnsupportedError",
    "chat_prompt",
    "load",
    "load_model",
    "load_tokenizer",
]

_HOMES = {
    "qwen7b.config": ("ModelConfig",),
    "qwen7b.generate": ("Greedy", "Piece", "Qwen", "Reply", "Sample", "Score", "load"),
    "qwen7b.loading": ("load_model", "load_tokenizer"),
    "qwen7b.text": ("Message", "chat_prompt"),
    "qwen7b.tools": ("Agent",),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = value = getattr(import_module(home), name)
            return value
    raise AttributeError(f"module 'qwen7b' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
