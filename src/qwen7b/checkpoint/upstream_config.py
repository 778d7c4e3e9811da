"""Reads the config of a checkpoint, from config.json or GGUF metadata, as a ModelConfig.

Only this file, `position_fields.py` and `tensor_names.py` know the file formats' names for settings and tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qwen7b.checkpoint import position_fields
from qwen7b.checkpoint.senses import refuse_other_senses
from qwen7b.config import Family, ModelConfig
from qwen7b.config.fields import MAX_WHOLE, Fields
from qwen7b.config.rotary_scaling import DynamicNtk, RotaryScaling, Yarn
from qwen7b.errors import CheckpointError, SettingError, UnsupportedError, quoted


def config_of(fields: Mapping[str, Any], *, source: str) -> ModelConfig:
    """The ModelConfig that the fields of a config.json of any of the three families describe."""
    refuse_other_senses(fields, source=source)
    settings = Fields(fields, source=source)
    family = fields.get("model_type")
    try:
        if family == Family.QWEN:
            return _qwen(settings)
        if family in (Family.QWEN2, Family.LLAMA):
            return _qwen2(settings, family=Family(family))
    except SettingError as error:
        raise CheckpointError(f"{settings.source} contradicts itself: {error}") from error
    raise UnsupportedError(
        f"{settings.source} is of model_type {quoted(family)}: qwen7b runs qwen, qwen2 (Qwen1.5 to 2.5, dense) and "
        "llama"
    )


def _qwen(settings: Fields) -> ModelConfig:
    """The config of a first-generation Qwen. Each size has two names: of the first release, and since 2023-09."""
    settings.refuse("no_bias", unless=True, reason="only query, key and value have a bias here")
    settings.refuse("rotary_pct", unless=1.0, reason="only whole heads are rotated here")
    settings.refuse("scale_attn_weights", unless=True, reason="attention is always scaled here")
    generations = [
        {"n_embd", "n_head", "n_layer", "ffn_hidden_size"},
        {"hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size"},
    ]
    if not any(names <= settings.fields.keys() for names in generations):
        lists = " nor ".join(", ".join(sorted(names)) for names in generations)
        raise CheckpointError(
            f"{settings.source} is not a complete config of a first-generation Qwen: it has neither {lists}; "
            "take config.json from the model's original repository"
        )
    hidden_size = settings.number(int, "hidden_size", "n_embd")
    num_heads = settings.number(int, "num_attention_heads", "n_head")
    head_size = settings.number(int, "kv_channels", default=hidden_size // max(num_heads, 1))
    feed_forward_size, odd = divmod(settings.number(int, "intermediate_size", "ffn_hidden_size"), 2)
    if odd:
        raise CheckpointError(
            f"{settings.source}: the feed-forward size counts two branches and must be even, so download it again"
        )
    seq_length = settings.number(int, "seq_length", default=2048)
    max_positions = settings.number(int, "max_position_embeddings", "n_positions", default=seq_length)
    num_layers = settings.number(int, "num_hidden_layers", "n_layer")
    scaling = position_fields.read_rope(settings, max_positions=seq_length)
    trained_length, context_length = _lengths(seq_length, max(seq_length, max_positions), scaling)
    if settings.flag("use_dynamic_ntk"):
        if scaling is not None:
            raise CheckpointError(f"{settings.source} has both use_dynamic_ntk and rope_scaling: drop one of them")
        scaling = DynamicNtk()
    return ModelConfig(
        family=Family.QWEN,
        vocab_rows=settings.number(int, "padded_vocab_size", "vocab_size"),
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_size=head_size,
        feed_forward_size=feed_forward_size,
        norm_epsilon=settings.number(float, "layer_norm_epsilon", default=1e-6),
        rope_base=settings.number(float, "rotary_emb_base", default=10000.0),
        trained_length=trained_length,
        context_length=context_length,
        qkv_bias=True,
        tied_head=settings.flag("tie_word_embeddings"),
        rotary_scaling=scaling,
        logn=settings.flag("use_logn_attn"),
        attention_windows=position_fields.read_own_windows(settings),
    )


def _qwen2(settings: Fields, *, family: Family) -> ModelConfig:
    settings.refuse("hidden_act", unless="silu", reason="only SwiGLU is computed here")
    settings.refuse("mlp_bias", unless=False, reason="the feed-forward has no bias here")
    if family is Family.LLAMA:
        settings.refuse("attention_bias", unless=False, reason="a Llama with biases is not supported")
        settings.refuse("use_sliding_window", unless=False, reason="no Llama has attention windows")
    hidden_size = settings.number(int, "hidden_size")
    num_heads = settings.number(int, "num_attention_heads")
    num_layers = settings.number(int, "num_hidden_layers")
    max_positions = settings.number(int, "max_position_embeddings")
    scaling = position_fields.read_rope(settings, max_positions=max_positions)
    trained_length, context_length = _lengths(max_positions, max_positions, scaling)
    return ModelConfig(
        family=family,
        vocab_rows=settings.number(int, "vocab_size"),
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=settings.number(int, "num_key_value_heads", default=num_heads),
        head_size=settings.number(int, "head_dim", default=hidden_size // max(num_heads, 1)),
        feed_forward_size=settings.number(int, "intermediate_size"),
        norm_epsilon=settings.number(float, "rms_norm_eps", default=1e-6),
        rope_base=position_fields.rope_settings(settings).number(float, "rope_theta", default=10000.0),
        trained_length=trained_length,
        context_length=context_length,
        qkv_bias=family is Family.QWEN2,
        tied_head=settings.flag("tie_word_embeddings"),
        rotary_scaling=scaling,
        attention_windows=position_fields.read_windows(settings, num_layers=num_layers),
    )


def _lengths(trained_length: int, context_length: int, scaling: RotaryScaling | None) -> tuple[int, int]:
    """The trained and the context length; YaRN's own count where it stretches them, as a file may or may not do so."""
    if not isinstance(scaling, Yarn):
        return trained_length, context_length
    return scaling.original_length, max(context_length, int(min(scaling.factor * scaling.original_length, MAX_WHOLE)))


def gguf_config(metadata: Mapping[str, Any], *, vocab_rows: int, tied_head: bool, source: str) -> ModelConfig:
    """The ModelConfig of a GGUF file of architecture qwen, qwen2 or llama."""
    architecture = metadata.get("general.architecture")
    if architecture not in tuple(Family):
        raise UnsupportedError(f"{source} is of architecture {quoted(architecture)}: qwen7b runs {', '.join(Family)}")
    family = Family(architecture)
    prefix = f"{family}."
    settings = Fields(
        {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}, source=source
    )
    settings.refuse("expert_count", unless=0, reason="qwen7b runs dense models")
    hidden_size = settings.number(int, "embedding_length")
    num_heads = settings.number(int, "attention.head_count")
    max_positions = settings.number(int, "context_length")
    feed_forward_size = settings.number(int, "feed_forward_length")
    try:
        scaling = position_fields.read_gguf_rope(settings, max_positions=max_positions)
        trained_length, context_length = _lengths(max_positions, max_positions, scaling)
        return ModelConfig(
            family=family,
            vocab_rows=vocab_rows,
            hidden_size=hidden_size,
            num_layers=settings.number(int, "block_count"),
            num_heads=num_heads,
            num_kv_heads=settings.number(int, "attention.head_count_kv", default=num_heads),
            head_size=settings.number(int, "attention.key_length", default=hidden_size // max(num_heads, 1)),
            # In GGUF as in the original's config, first-generation Qwen's size counts both branches.
            feed_forward_size=feed_forward_size // 2 if family is Family.QWEN else feed_forward_size,
            norm_epsilon=settings.number(float, "attention.layer_norm_rms_epsilon"),
            rope_base=settings.number(float, "rope.freq_base", default=10000.0),
            trained_length=trained_length,
            context_length=context_length,
            qkv_bias=family is not Family.LLAMA,
            tied_head=tied_head,
            rotary_scaling=scaling,
        )
    except SettingError as error:
        raise CheckpointError(f"{source} contradicts itself: {error}") from error
