"""Reads and writes the fields for stretched rotary positions and attention windows in settings files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen7b.config import ModelConfig
from qwen7b.config.checked import whole_number
from qwen7b.config.fields import Fields
from qwen7b.config.model_config import MAX_LAYERS
from qwen7b.config.rotary_scaling import LinearInterpolation, RotaryScaling, Yarn, yarn_attention_factor
from qwen7b.errors import CheckpointError, UnsupportedError, counted, quoted

_BETAS = ("beta_fast", "beta_slow")
_YARN_FIELDS = {"original_max_position_embeddings", "attention_factor", "mscale", "mscale_all_dim", "truncate", *_BETAS}
_FIELDS_OF_KIND: dict[str, set[str]] = {"default": set(), "linear": {"factor"}, "yarn": {"factor", *_YARN_FIELDS}}
_COMMON_FIELDS = {"rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned"}
_SLIDING, _FULL = "sliding_attention", "full_attention"


# --- config.json, in the words of transformers 4 (rope_scaling) and 5 (rope_parameters) ----------------------------


def rope_settings(settings: Fields) -> Fields:
    """The fields of a config.json about rotary positions."""
    rope = settings.fields.get("rope_scaling") or settings.fields.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise UnsupportedError(f"{settings.source}: rope_scaling must be an object, found {quoted(rope)}")
    theta = {name: settings.fields[name] for name in ("rope_theta",) if name in settings.fields}
    return Fields({**theta, **rope}, source=settings.source)


def read_rope(settings: Fields, *, max_positions: int) -> RotaryScaling | None:
    """The scaling that a config.json names; `max_positions` is YaRN's original length where the file has no other."""
    rope = rope_settings(settings)
    kind = rope.fields.get("rope_type", rope.fields.get("type", "default"))
    if kind == "dynamic":
        raise UnsupportedError(
            f"{settings.source} scales rotary positions by 'dynamic', whose formula differs from that of Qwen's "
            "dynamic NTK: remove it and load the model with long_context='ntk', or set yarn or linear"
        )
    if not isinstance(kind, str) or kind not in _FIELDS_OF_KIND:
        raise UnsupportedError(
            f"{settings.source} scales rotary positions by {quoted(kind)}: qwen7b computes only linear and yarn"
        )
    for name, value in rope.fields.items():
        if value is not None and name not in _COMMON_FIELDS | _FIELDS_OF_KIND[kind]:
            raise UnsupportedError(
                f"{settings.source} sets {name} for {kind} rotary positions: qwen7b does not know it"
            )
    rope.refuse("partial_rotary_factor", unless=1, reason="only whole heads are rotated here")
    if kind == "linear":
        return LinearInterpolation(factor=rope.number(float, "factor"))
    return _read_yarn(settings, rope, max_positions=max_positions) if kind == "yarn" else None


def _read_yarn(settings: Fields, rope: Fields, *, max_positions: int) -> Yarn:
    rope.refuse("truncate", unless=True, reason="frequencies are chosen by whole indices here")
    factor = rope.number(float, "factor")
    attention_factor = rope.fields.get("attention_factor") and rope.number(float, "attention_factor")
    scales = [rope.number(float, name, default=0.0) for name in ("mscale", "mscale_all_dim")]
    if attention_factor is None and all(scales):
        numerator, denominator = (scale * (yarn_attention_factor(factor) - 1) + 1 for scale in scales)
        attention_factor = numerator / denominator
    name = "original_max_position_embeddings"
    return Yarn(
        factor=factor,
        # As in transformers: a length outside of the rope settings has priority, and 0 turns mean the default.
        original_length=settings.number(int, name, default=rope.number(int, name, default=max_positions)),
        attention_factor=attention_factor,
        **{name: turns for name in _BETAS if (turns := rope.number(float, name, default=0.0))},
    )


def rope_fields(scaling: RotaryScaling | None) -> dict[str, Any]:
    """The fields of a config.json for this scaling; empty where it has none."""
    match scaling:
        case LinearInterpolation():
            return {"rope_scaling": {"rope_type": "linear", "factor": scaling.factor}}
        case Yarn():
            fields = {
                "rope_type": "yarn",
                "factor": scaling.factor,
                "original_max_position_embeddings": scaling.original_length,
                "beta_fast": scaling.beta_fast,
                "beta_slow": scaling.beta_slow,
            }
            if scaling.attention_factor is not None:
                fields["attention_factor"] = float(scaling.attention_factor)
            return {"rope_scaling": fields}
    return {}


def read_windows(settings: Fields, *, num_layers: int) -> tuple[int, ...] | None:
    """The attention windows of a Qwen2: of one size, in the layers of layer_types or from max_window_layers on."""
    types = settings.fields.get("layer_types")
    has_windows = settings.flag("use_sliding_window") and settings.fields.get("sliding_window", 0) is not None
    if types is None and not 0 < num_layers <= MAX_LAYERS:
        return None  # ModelConfig refuses such a number of layers
    if types is None:
        first = settings.number(int, "max_window_layers", default=28) if has_windows else num_layers
        types = [_SLIDING if layer >= first else _FULL for layer in range(num_layers)]
    if not isinstance(types, list) or len(types) != num_layers:
        raise CheckpointError(
            f"{settings.source}: layer_types must name one type for each of {counted(num_layers, 'layer')}"
        )
    if not all(kind in (_SLIDING, _FULL) for kind in types):
        raise UnsupportedError(f"{settings.source} has layer_types other than {_SLIDING} and {_FULL}: {quoted(types)}")
    if _SLIDING not in types:
        return None
    if not has_windows:
        raise CheckpointError(
            f"{settings.source} names layers of {_SLIDING} without use_sliding_window: set it to true"
        )
    window = whole_number("sliding_window", settings.number(int, "sliding_window", default=4096), minimum=1)
    return tuple(window if kind == _SLIDING else 0 for kind in types)


def shortest_window(windows: Sequence[int] | None) -> int | None:
    """The smallest attention window; None where no layer has one."""
    return min((window for window in windows or () if window), default=None)


def can_express_windows(windows: Sequence[int] | None) -> bool:
    """Whether a Qwen2's config.json can express these windows."""
    return windows is None or len(set(windows) - {0}) <= 1


def window_fields(config: ModelConfig) -> dict[str, Any]:
    """The fields that `read_windows` reads."""
    windows = config.attention_windows
    if windows is None or not any(windows):
        return {"max_window_layers": config.num_layers, "use_sliding_window": False}
    last_full = max((layer for layer, window in enumerate(windows) if not window), default=-1)
    return {
        "layer_types": [_SLIDING if window else _FULL for window in windows],
        "max_window_layers": last_full + 1,  # for programs that do not read layer_types
        "sliding_window": max(windows),
        "use_sliding_window": True,
    }


def read_own_windows(settings: Fields) -> tuple[int, ...] | None:
    """The windows in a first-generation Qwen's config.json: our own field `attention_windows`, as in ModelConfig."""
    windows = settings.fields.get("attention_windows")
    if windows is not None and not isinstance(windows, list):
        raise CheckpointError(
            f"{settings.source}: attention_windows must be a list of numbers, found {quoted(windows)}"
        )
    return None if windows is None else tuple(windows)


# --- GGUF ----------------------------------------------------------------------------------------------------------


def read_gguf_rope(settings: Fields, *, max_positions: int) -> RotaryScaling | None:
    """The scaling in GGUF metadata, whose keys are without the architecture's prefix; a factor alone means linear."""
    factor = settings.number(float, "rope.scaling.factor", "rope.scale_linear", default=0.0)
    kind = settings.fields.get("rope.scaling.type", "linear")
    if kind not in ("none", "linear", "yarn"):
        raise UnsupportedError(
            f"{settings.source} scales rotary positions by {quoted(kind)}: qwen7b computes only linear and yarn"
        )
    settings.refuse("rope.scaling.yarn_ext_factor", unless=1, reason="qwen7b computes the full YaRN only")
    settings.refuse("rope.scaling.yarn_log_multiplier", unless=0, reason="it is not a setting of this kind of model")
    if kind == "yarn" and factor:
        attention_factor: float | None = None
        parts = ("rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor")
        if any(part in settings.fields for part in parts):
            # llama.cpp multiplies the paper's factor by the first; its converter writes the whole as the second.
            full_factor = settings.number(float, parts[1], default=yarn_attention_factor(factor))
            attention_factor = settings.number(float, parts[0], default=1.0) * full_factor
        return Yarn(
            factor=factor,
            original_length=settings.number(int, "rope.scaling.original_context_length", default=max_positions),
            attention_factor=attention_factor,
            **{n: turns for n in _BETAS if (turns := settings.number(float, f"rope.scaling.yarn_{n}", default=0.0))},
        )
    settings.refuse("rope.scaling.attn_factor", unless=1, reason="only YaRN scales attention here")
    return LinearInterpolation(factor=factor) if kind == "linear" and factor else None


def gguf_rope_fields(scaling: RotaryScaling | None) -> dict[str, Any]:
    """The metadata that `read_gguf_rope` reads."""
    match scaling:
        case LinearInterpolation():
            return {"rope.scaling.type": "linear", "rope.scaling.factor": float(scaling.factor)}
        case Yarn():
            fields = {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": float(scaling.factor),
                "rope.scaling.original_context_length": scaling.original_length,
                "rope.scaling.yarn_beta_fast": float(scaling.beta_fast),
                "rope.scaling.yarn_beta_slow": float(scaling.beta_slow),
            }
            if scaling.attention_factor is not None:
                fields["rope.scaling.attn_factor"] = scaling.attention_factor / yarn_attention_factor(scaling.factor)
            return fields
    return {}
