"""The model to be measured, in several weight formats, with several methods for long contexts, at several lengths."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from qwen7b import kernels
from qwen7b.checkpoint import open_checkpoint
from qwen7b.checkpoint.checks import check_vocabulary
from qwen7b.config.checked import whole_number
from qwen7b.config.long_context import parse_method, with_long_context
from qwen7b.errors import SettingError
from qwen7b.hub import locate
from qwen7b.loading import load_model
from qwen7b.loading.loading import choose_dtype
from qwen7b.loading.placement import NONE, choose_device, default_dtype
from qwen7b.model import Transformer
from qwen7b.packed.formats import find_format
from qwen7b.packing.places import identity
from qwen7b.text import load_tokenizer


class Subject:
    """A checkpoint and the settings to measure it with; contradictions are refused before any weights are read.

    precisions      "none" for the weights in `dtype`, or formats to pack them in
    methods         what `with_long_context` takes, each instead of the checkpoint's own settings
    lengths         tokens per sequence
    trained_length  used instead of the checkpoint's own

    Names given twice count once. Raises SettingError, and ResourceError where the model fits in no dtype.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        precisions: Sequence[str] = ("none",),
        methods: Sequence[str] = ("none",),
        lengths: Sequence[int],
        trained_length: int | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str = "auto",
        offline: bool | None = None,
    ) -> None:
        self.precisions = list(dict.fromkeys(precisions))
        self.methods = list(dict.fromkeys(methods))
        self.lengths = sorted({whole_number("a length", length, minimum=2) for length in lengths})
        if not (self.precisions and self.methods and self.lengths):
            raise SettingError("there is nothing to measure: give at least one precision, one method and one length")
        for precision in self.precisions:
            if precision != "none":
                find_format(precision, other_names=["none"])
        if dtype is not None and "none" not in self.precisions:
            raise SettingError(
                f"packed weights ({', '.join(self.precisions)}) compute in float32, found the dtype "
                f"{str(dtype).removeprefix('torch.')}: drop it, or measure the weights as they are too (none)"
            )
        self.checkpoint = open_checkpoint(locate(model, offline=offline))
        packed = [precision for precision in self.precisions if precision != NONE]
        # One device for all precisions, so that nothing else differs between results.
        self.device = choose_device(device, self.checkpoint, quantize=packed[0] if packed else None)
        self.tokenizer = load_tokenizer(self.checkpoint.path)
        check_vocabulary(self.tokenizer, self.checkpoint.config, source=self.checkpoint.path)
        self.configs = {
            (method, length): with_long_context(
                self.checkpoint.config, method, trained_length=trained_length, length=length
            )
            for method in self.methods
            for length in self.lengths
        }
        self._is_packed = self.checkpoint.packed is not None
        self.dtype = self._unusual_dtype = dtype
        if dtype is None and "none" in self.precisions and not self._is_packed:
            # Free memory decides the dtype; choosing it once here gives all results the same one.
            self.dtype = choose_dtype(self.checkpoint.config, device=self.device)
            self._unusual_dtype = None if self.dtype == default_dtype(self.device) else self.dtype
        if trained_length is not None and not any(parse_method(method).uses_trained_length for method in self.methods):
            warnings.warn(
                f"trained_length {trained_length} is ignored, as these methods ignore it: {', '.join(self.methods)}",
                stacklevel=2,
            )
        self._loaded: tuple[str, Transformer] | None = None

    @property
    def trained_length(self) -> int:
        """The trained length that the methods use."""
        return next(iter(self.configs.values())).trained_length

    def model(self, precision: str, method: str, length: int) -> Transformer:
        """The model, loaded if necessary. Raises ResourceError if memory does not suffice for the longest sequence."""
        if self._loaded is None or self._loaded[0] != precision:
            self._loaded = None  # two models need not fit side by side
            self._loaded = precision, self._load(precision)
        model = self._loaded[1]
        model.config = self.configs[method, length]
        return model

    def _load(self, precision: str) -> Transformer:
        if precision == "none":
            model = load_model(self.checkpoint, dtype=self.dtype, device=self.device)
        else:
            model = load_model(self.checkpoint, quantize=precision, device=self.device, keep=True)
        for method in self.methods:
            model.config = self.configs[method, self.lengths[-1]]
            model.new_cache(max_length=self.lengths[-1])
        return model

    def task(self, precision: str, method: str, length: int) -> dict[str, Any]:
        """Everything but the text that a result at this length depends on, for a journal.

        Up to the trained length, dynamic NTK and LogN do not belong to it.
        """
        config, dtype = self.configs[method, length], self._unusual_dtype
        if length <= config.trained_length:
            config = replace(config, rotary_scaling=None if config.dynamic_ntk else config.rotary_scaling, logn=False)
        task = {
            "model": hashlib.sha256(identity(self.checkpoint.path).encode()).hexdigest()[:16],
            "precision": precision,
            "dtype": None if precision != "none" or dtype is None else str(dtype).removeprefix("torch."),
            "device": str(self.device),
            "length": length,
            "trained_length": config.trained_length,
            "rotary_scaling": repr(config.rotary_scaling),
            "logn": config.logn,
            "attention_windows": config.attention_windows,
        }
        if (precision != "none" or self._is_packed) and kernels.instruction_set() is None:
            task["reference"] = True  # close to the results of the native kernels, but not equal
        return task
