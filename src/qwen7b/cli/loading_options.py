"""The options of loading a model, which verbs share as a group."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen7b.cli import options
from qwen7b.cli.adapter_option import Adapters, read_adapters
from qwen7b.cli.option_groups import without
from qwen7b.cli.options import check_threads, set_threads
from qwen7b.cli.tool_options import DialectName
from qwen7b.config.long_context import parse_method
from qwen7b.errors import SettingError

if TYPE_CHECKING:
    from qwen7b import Qwen
    from qwen7b.text import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
    """Which model to load, and how."""

    model: options.Model = "demo"
    device: options.Device = "auto"
    dtype: options.Dtype = None
    quantize: options.Quantize = None
    long_context: options.LongContext = None
    context_length: options.ContextLength = None
    chat: options.Chats = None
    dialect: DialectName = None
    prompt_cache: options.PromptCache = None
    prompt_cache_gb: options.PromptCacheGb = None
    speculate: options.Speculate = "none"
    adapter: Adapters = None
    threads: options.Threads = None
    offline: options.Offline = False

    def __post_init__(self) -> None:
        check_threads(self.threads)
        if self.prompt_cache_gb is not None and self.prompt_cache is None:
            raise SettingError("--prompt-cache-gb limits the folder of --prompt-cache: give that too")
        if self.long_context is not None:
            parse_method(self.long_context)  # raises here, before a model is loaded
        read_adapters(self.adapter)

    @property
    def adapters(self) -> dict[str, str]:
        """The adapters that stay beside the weights, by name."""
        return read_adapters(self.adapter)[1]

    def set_threads(self) -> None:
        set_threads(self.threads)

    def find(self) -> None:
        """Fetch the model unless it is on this machine. Raises Qwen7bError if there is none with its name."""
        from qwen7b.hub import locate

        locate(self.model, offline=self.offline or None)

    def load(self, *, must_chat: bool = False) -> Qwen:
        """Load the model. With `must_chat` a base model is refused before its weights are loaded."""
        tokenizer = self._import_torch()
        import torch

        import qwen7b

        self.set_threads()
        dtype = None if self.dtype is None else getattr(torch, self.dtype.value)
        others: dict[str, Any] = {"chat": self.chat, "must_chat": must_chat or None, "tokenizer": tokenizer}
        others["prompt_cache"] = self.prompt_cache and os.path.expanduser(self.prompt_cache)
        others["prompt_cache_bytes"] = self.prompt_cache_gb and self.prompt_cache_gb * 10**9
        others["dialect"] = self.dialect
        added, beside = read_adapters(self.adapter)
        others["adapter"] = added and os.path.expanduser(added)
        others["adapters"] = {name: os.path.expanduser(path) for name, path in beside.items()} or None
        others["speculate"] = None if self.speculate == "none" else self.speculate
        # None lets the environment variable for offline use decide.
        return qwen7b.load(
            self.model,
            device=self.device,
            dtype=dtype,
            offline=self.offline or None,
            quantize=self.quantize,
            long_context=self.long_context,
            context_length=self.context_length,
            **{name: value for name, value in others.items() if value is not None},
        )

    def _import_torch(self) -> Tokenizer | None:
        """Import torch and, while its library loads, read the tokenizer if an earlier run has cached it."""
        if "torch" in sys.modules:
            return None
        from qwen7b.hub import locate
        from qwen7b.packing.kept_tokenizer import find_kept_tokenizer
        from qwen7b.system.importing import loading_torch_library, quick_imports

        path = locate(self.model, offline=self.offline or None)
        with quick_imports():
            with loading_torch_library():
                tokenizer = find_kept_tokenizer(path)
            import torch  # noqa: F401
        return tokenizer


plain_loading = without(Loading, "chat", "dialect", "prompt_cache", "prompt_cache_gb", "speculate", "adapter")
"""The options of loading a model that is measured, and not talked to."""
