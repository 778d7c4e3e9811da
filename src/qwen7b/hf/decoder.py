"""The decoder as a Transformers model, with the original's module names, so that its checkpoints load unchanged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, Cache, DynamicCache, PreTrainedModel
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2.modeling_qwen2 import eager_attention_forward

from qwen7b.checkpoint.senses import refuse_other_senses
from qwen7b.checkpoint.tensor_names import HOLDS_NO_WEIGHTS
from qwen7b.errors import Qwen7bError, SettingError, UnsupportedError
from qwen7b.files.weight_files import open_weights
from qwen7b.hf.cache_name import CACHE_NAME, choose_cache
from qwen7b.hf.configuration import QWenConfig
from qwen7b.hf.positions import sequence_alphas, token_positions
from qwen7b.model.layers import RMSNorm
from qwen7b.model.rotary import logn_scale, rotary_frequencies, rotary_tables, rotate

Rotation = tuple[Tensor, Tensor, Tensor | None]
"""The cosines and sines (B or 1, T, 1, D), and LogN's factors (B or 1, T, 1, 1) or None."""


class QWenAttention(nn.Module):
    is_causal = True
    num_key_value_groups = 1

    def __init__(self, config: QWenConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer
        self.head_dim = config.kv_channels
        inner = config.num_attention_heads * config.kv_channels
        self.c_attn = nn.Linear(config.hidden_size, 3 * inner)
        self.c_proj = nn.Linear(inner, config.hidden_size, bias=False)

    def forward(
        self, x_BTC: Tensor, rotation: Rotation, attention_mask: Tensor | None, cache: Cache | None, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        cos, sin, query_scale = rotation
        query_BTHD, key_BTHD, value_BTHD = self.c_attn(x_BTC).unflatten(-1, (3, -1, self.head_dim)).unbind(2)
        query_BTHD = rotate(query_BTHD, cos=cos, sin=sin)
        if query_scale is not None:
            query_BTHD = query_BTHD * query_scale.to(query_BTHD.dtype)
        key_BHSD, value_BHSD = rotate(key_BTHD, cos=cos, sin=sin).transpose(1, 2), value_BTHD.transpose(1, 2)
        if cache is not None:
            key_BHSD, value_BHSD = cache.update(key_BHSD, value_BHSD, self.layer_idx)
        attend: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        mixed_BTHD, weights = attend(
            self,
            query_BTHD.transpose(1, 2),
            key_BHSD,
            value_BHSD,
            attention_mask,
            dropout=self.config.attn_dropout_prob if self.training else 0.0,
            scaling=self.head_dim**-0.5,
            **kwargs,
        )
        return self.c_proj(mixed_BTHD.flatten(2)), weights


class QWenMLP(nn.Module):
    """c_proj(w1(x) · silu(w2(x))): w2 is the gate."""

    def __init__(self, config: QWenConfig) -> None:
        super().__init__()
        width = config.intermediate_size // 2
        self.w1 = nn.Linear(config.hidden_size, width, bias=False)
        self.w2 = nn.Linear(config.hidden_size, width, bias=False)
        self.c_proj = nn.Linear(width, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.w1(x) * F.silu(self.w2(x)))  # type: ignore[no-any-return]


class QWenBlock(GradientCheckpointingLayer):  # type: ignore[no-untyped-call]
    def __init__(self, config: QWenConfig, layer: int) -> None:
        super().__init__()
        self.ln_1 = RMSNorm(config.hidden_size, epsilon=config.layer_norm_epsilon)
        self.attn = QWenAttention(config, layer)
        self.ln_2 = RMSNorm(config.hidden_size, epsilon=config.layer_norm_epsilon)
        self.mlp = QWenMLP(config)

    def forward(
        self,
        x_BTC: Tensor,
        rotation: Rotation,
        attention_mask: Tensor | None,
        cache: Cache | None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attn(self.ln_1(x_BTC), rotation, attention_mask, cache, **kwargs)
        x_BTC = x_BTC + mixed
        return x_BTC + self.mlp(self.ln_2(x_BTC)), weights


class QWenPreTrainedModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    config_class = QWenConfig
    config: QWenConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    _input_embed_layer = "wte"
    _no_split_modules = ["QWenBlock"]
    _skip_keys_device_placement = [CACHE_NAME]
    _keys_to_ignore_on_load_unexpected = [HOLDS_NO_WEIGHTS.pattern]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as the base class does, except that the checkpoint's code never runs, whatever `trust_remote_code` says.

        The keywords load_in_4bit=True and load_in_8bit=True of old scripts still work, as BitsAndBytesConfigs.
        """
        kwargs.pop("resume_download", None)  # Transformers 5 always resumes
        bits = {name: True for name in ("load_in_4bit", "load_in_8bit") if kwargs.pop(name, False)}
        if bits and kwargs.get("quantization_config") is not None:
            raise SettingError(f"{next(iter(bits))} and quantization_config contradict each other: give one of them")
        if bits:
            kwargs["quantization_config"] = BitsAndBytesConfig(**bits)  # type: ignore[no-untyped-call]
        if args and Path(str(args[0])).is_dir():
            _refuse_senses_in(Path(str(args[0])))
        try:
            return super().from_pretrained(*args, **{**kwargs, "trust_remote_code": False})
        except ImportError as error:
            if "GPTQ" not in str(error):
                raise
            raise UnsupportedError(
                "for a checkpoint quantized by GPTQ Transformers needs packages that are no longer maintained: use "
                "qwen7b.load, which unpacks it by itself, or qwen7b convert FOLDER NEW_FOLDER --to qwen for a plain one"
            ) from error


def _refuse_senses_in(folder: Path) -> None:
    """Raise UnsupportedError if a folder has the tensors of a vision or audio model, whatever its config says.

    All other problems of the files are left to Transformers.
    """
    names: list[str] = []
    with suppress(Qwen7bError), catch_warnings(action="ignore"):
        names = [*open_weights(folder)]
    refuse_other_senses({}, names, source=str(folder))


class QWenModel(QWenPreTrainedModel):  # type: ignore[no-untyped-call]
    """The decoder without its head: token ids in, hidden states out."""

    def __init__(self, config: QWenConfig) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.hidden_size)
        self.drop = nn.Dropout(config.emb_dropout_prob)
        self.h = nn.ModuleList(QWenBlock(config, layer) for layer in range(config.num_hidden_layers))
        self.ln_f = RMSNorm(config.hidden_size, epsilon=config.layer_norm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        cache: Cache | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Compute hidden states. Without `position_ids`, positions count the tokens that `attention_mask` leaves
        visible.

        The cache may have either of its names. `token_type_ids` have no effect, as in the original.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise SettingError("give either input_ids or inputs_embeds")
        x = self.wte(input_ids) if inputs_embeds is None else inputs_embeds
        cache = choose_cache(past_key_values, cache, others=kwargs)
        # The backward pass computes each layer again, and would add its keys to the cache a second time.
        checkpointing = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        if checkpointing and cache is not None:
            raise SettingError("gradient checkpointing cannot use a cache: leave it out, or call model.eval() first")
        if use_cache is None:
            use_cache = self.config.use_cache
        if use_cache and cache is None and not checkpointing:
            cache = DynamicCache(config=self.config)
        if position_ids is None:
            position_ids = token_positions(x.shape[:2], attention_mask=attention_mask, cache=cache, device=x.device)
        rotation = self._rotation(position_ids, cache)
        named_cache: dict[str, Any] = {CACHE_NAME: cache}
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=x,
            attention_mask=attention_mask,
            position_ids=position_ids,
            **named_cache,
        )
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        x = self.drop(x)
        states, attentions = [x], []
        for block in self.h:
            x, weights = block(x, rotation, mask, cache, **kwargs)
            states.append(x)
            attentions.append(weights)
        x = self.ln_f(x)
        states[-1] = x
        return BaseModelOutputWithPast(
            last_hidden_state=x,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
            **(named_cache if use_cache else {}),
        )

    def _rotation(self, position_ids: Tensor, cache: Cache | None) -> Rotation:
        config = self.config
        alphas = [1.0]
        if config.use_dynamic_ntk and not self.training:
            alphas = sequence_alphas(position_ids, cache=cache, trained_length=config.seq_length)
        positions_BT = position_ids.expand(max(len(alphas), len(position_ids)), -1)
        frequencies = rotary_frequencies(
            alphas, base=config.rotary_emb_base, head_size=config.kv_channels, device=positions_BT.device
        )
        cos, sin = rotary_tables(positions_BT, frequencies[:, None])
        query_scale = None
        if config.use_logn_attn and not self.training:
            query_scale = logn_scale(positions_BT, trained_length=config.seq_length)
        return cos, sin, query_scale
