"""The Qwen configuration as Transformers holds it, read from either generation's `config.json`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

import torch
from transformers import PreTrainedConfig
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from qwen7b.checkpoint.upstream_config import config_of
from qwen7b.config.rotary_scaling import DynamicNtk
from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.hf.cache_name import CACHE_NAME
from qwen7b.system.json_file import read_json

_PRECISIONS = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}

# Settings for how the original computed; here they have no effect.
_SWITCHES = ("softmax_in_fp32", "use_cache_kernel", "use_cache_quantization", "use_flash_attn")

# With these fields a checkpoint asks Transformers to run Python files of its own.
_REMOTE_CODE = ("auto_map", "custom_pipelines")


class QWenConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """The sizes and the position scheme of a Qwen model, under the names that config.json has used since 2023-09.

    The first release's names are read too and remain attributes; saving writes the new names. The keywords bf16, fp16
    and fp32 of `from_pretrained` choose the dtype, as in the original.
    """

    model_type: ClassVar[str] = "qwen"
    keys_to_ignore_at_inference: ClassVar[list[str]] = [CACHE_NAME]
    attribute_map: ClassVar[dict[str, str]] = {
        "n_embd": "hidden_size",
        "n_head": "num_attention_heads",
        "n_layer": "num_hidden_layers",
        "n_positions": "max_position_embeddings",
        "ffn_hidden_size": "intermediate_size",
        "padded_vocab_size": "vocab_size",
        "attn_pdrop": "attn_dropout_prob",
        "embd_pdrop": "emb_dropout_prob",
        "head_dim": "kv_channels",
    }

    vocab_size: int = 151936
    hidden_size: int = 4096
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    kv_channels: int = 128
    intermediate_size: int = 22016
    """The width of both branches of the feed-forward together, as in the original's files."""
    seq_length: int = 2048
    """The length of a training sequence in tokens: dynamic NTK and LogN act beyond it."""
    max_position_embeddings: int = 8192
    rotary_emb_base: float | int = 10000
    layer_norm_epsilon: float = 1e-6
    initializer_range: float = 0.02
    attn_dropout_prob: float = 0.0
    emb_dropout_prob: float = 0.0
    use_dynamic_ntk: bool = True
    use_logn_attn: bool = True
    use_cache: bool = True
    tie_word_embeddings: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    tokenizer_class: str | None = "QWenTokenizer"

    def __post_init__(self, **others: Any) -> None:
        for name in _REMOTE_CODE:
            others.pop(name, None)
        dtype = _dtype_among({name: others.pop(name, None) for name in _PRECISIONS})
        # Sets the first release's names too, by `attribute_map`.
        super().__post_init__(**others)  # type: ignore[no-untyped-call]
        if dtype:
            self.dtype = getattr(torch, dtype)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; setting bf16, fp16 or fp32 to true sets the dtype."""
        if name not in _PRECISIONS:
            super().__setattr__(name, value)  # type: ignore[no-untyped-call]
        elif value:
            self.dtype = getattr(torch, _PRECISIONS[name])

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read as the base class does; bf16, fp16 and fp32, from the keywords or else the file, become the dtype.

        Raises CheckpointError for a config.json of neither generation or with contradictions, UnsupportedError for one
        with features that no Qwen has.
        """
        name = str(kwargs.get("name_or_path") or config_dict.get("_name_or_path", ""))
        folder = Path(name)
        config = config_of({**config_dict, "model_type": cls.model_type}, source=str(folder / "config.json"))
        if config.attention_windows or not isinstance(config.rotary_scaling, (DynamicNtk, NoneType)):
            raise UnsupportedError(
                f"{folder / 'config.json'} sets attention_windows or rope_scaling, which this class does not "
                "support: load it with qwen7b.load, or remove them"
            )
        read = {
            "kv_channels": config.head_size,
            "max_position_embeddings": config.context_length,
            "use_dynamic_ntk": config.dynamic_ntk,
            "use_logn_attn": config.logn,
        }  # what the first release's files leave out is not what the later ones' leave out
        given = {cls.attribute_map.get(name, name) for name in config_dict}
        config_dict = {**config_dict, **{name: value for name, value in read.items() if name not in given}}
        _refuse_code_of_tokenizer(name, commit=config_dict.get("_commit_hash"))
        requested = {name: kwargs.pop(name) for name in _PRECISIONS if name in kwargs}
        if not any(requested.values()):
            requested = {name: config_dict.get(name) for name in _PRECISIONS} | requested
        dtype = _dtype_among(requested)
        if kwargs.get("use_cache_quantization"):
            warnings.warn("use_cache_quantization is ignored: keys and values are kept as they are", stacklevel=2)
        for name in _SWITCHES:
            kwargs.pop(name, None)
        config_dict = {name: value for name, value in config_dict.items() if name not in _PRECISIONS}
        if dtype:
            config_dict.pop("torch_dtype", None)
            config_dict["dtype"] = dtype
        return super().from_dict(config_dict, **kwargs)


def _dtype_among(precisions: Mapping[str, Any]) -> str | None:
    """The dtype that bf16, fp16 or fp32 chooses. Raises SettingError where more than one of them is true."""
    chosen = [name for name in _PRECISIONS if precisions.get(name)]
    if len(chosen) > 1:
        raise SettingError(f"only one of bf16, fp16 and fp32 can be true, found {' and '.join(chosen)}")
    return _PRECISIONS[chosen[0]] if chosen else None


def _refuse_code_of_tokenizer(name: str, *, commit: str | None) -> None:
    """Raise UnsupportedError if the tokenizer of a folder, or of a hub's repository, exists only as its own code.

    AutoTokenizer reads the model's configuration first, and prefers our tokenizers to the checkpoint's code only if
    `tokenizer_config.json` names their class: with `trust_remote_code=True` it would run any other code.
    """
    path = Path(name, "tokenizer_config.json")
    if not name or os.path.isdir(name):
        fields = read_json(path) if path.is_file() else {}
    else:
        fields = get_tokenizer_config(name, _commit_hash=commit)
    if fields.get("auto_map") and str(fields.get("tokenizer_class")).removesuffix("Fast") != "QWenTokenizer":
        raise UnsupportedError(
            f"{path} names a tokenizer of its own code, {fields['auto_map']!r:.100}, which is never run: if this is a "
            'Qwen tokenizer, set its tokenizer_class to "QWenTokenizer", else remove its auto_map'
        )
