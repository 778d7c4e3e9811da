"""The plan of a conversion: everything that it will write, decided before the first byte is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.checks import check_complete, check_shapes, check_vocabulary
from qwen7b.checkpoint.parameters import Parameters, parameters_of
from qwen7b.checkpoint.tensor_names import GGUF, QWEN, QWEN2
from qwen7b.config import ModelConfig
from qwen7b.convert import metadata
from qwen7b.convert.companions import Companions, read_companions
from qwen7b.convert.encoding import FEWER_BITS, FLOATS, TORCH_TYPES
from qwen7b.convert.target import adapt, target_config, tensors_from
from qwen7b.convert.target_files import TargetFile, TargetTensor, gguf_file, safetensors_files, safetensors_index
from qwen7b.convert.target_format import TargetFormat
from qwen7b.errors import SettingError, UnsupportedError, quoted
from qwen7b.files.file_names import LICENCES
from qwen7b.files.stored import DTYPES, StoredTensor
from qwen7b.files.views import dtype_of
from qwen7b.system.regular_file import SMALL_FILE_LIMIT, checkpoint_bytes
from qwen7b.text import Tokenizer

DTYPE_NAMES = {name: FLOATS[dtype] for name, dtype in DTYPES.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A conversion's source, and the content of its target."""

    source: Checkpoint
    config: ModelConfig
    """The target's config."""
    companions: Companions
    parameters: Parameters
    """The target's parameters, as views of the source's tensors."""
    weight_files: list[TargetFile]
    other_files: Mapping[str, bytes]

    @property
    def tensors(self) -> list[TargetTensor]:
        return [tensor for file in self.weight_files for tensor in file.tensors]

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.weight_files)


def number_type(*, to: TargetFormat, dtype: str | None, quantize: str | None) -> GGMLQuantizationType | None:
    """The number type to write; None for the source's own. Raises SettingError for settings that make no sense."""
    if dtype is not None and quantize is not None:
        raise SettingError(f"dtype {dtype} and quantize {quantize} contradict each other: give one of them")
    if dtype is not None and dtype not in DTYPE_NAMES:
        raise SettingError(f"dtype must be one of {', '.join(DTYPE_NAMES)}, found {quoted(dtype)}")
    if quantize is not None and quantize not in FEWER_BITS:
        raise SettingError(f"quantize must be one of {', '.join(FEWER_BITS)}, found {quoted(quantize)}")
    if quantize is not None and to is not TargetFormat.GGUF:
        raise SettingError(f"only GGUF files are quantized here: give a dtype for {to}, or convert to gguf")
    return FEWER_BITS[quantize] if quantize is not None else DTYPE_NAMES[dtype] if dtype is not None else None


def make_plan(
    source: Checkpoint,
    *,
    model_name: str,
    target_name: str,
    to: TargetFormat,
    type: GGMLQuantizationType | None,
    chat: bool | None = None,
    tokenizer: Tokenizer | None = None,
) -> Plan:
    """Plan a target file or folder. With `type` None number types stay, with `chat` None the source's files decide.

    The target gets the source's own tokenizer unless another is given.

    Raises CheckpointError if the source is incomplete or contradicts its config, UnsupportedError if it has tensors
    that cannot be read or that the target cannot hold.
    """
    check_shapes(source)
    check_complete(source)
    companions = read_companions(source, name=model_name, chat=chat, tokenizer=tokenizer)
    check_vocabulary(companions.tokenizer, source.config, source=source.path)
    own = parameters_of(source)
    config = target_config(source.config, own, to=to)
    parameters = adapt(own, source.config, config)
    names = {TargetFormat.QWEN: QWEN, TargetFormat.QWEN2: QWEN2, TargetFormat.GGUF: GGUF}[to]
    types = {parameter: _type_of(parameter, stored, to=to, type=type) for parameter, stored in parameters.items()}
    tensors = [
        TargetTensor(tensor, parameter, values, types[parameter])
        for tensor, parameter, values in tensors_from(parameters, config, names=names)
    ]
    other_files: dict[str, bytes] = {}
    if to is TargetFormat.GGUF:
        matrix_type = next(types[parameter] for parameter in types if parameter.endswith("feed_forward.up.weight"))
        fields = metadata.gguf_metadata(config, companions, type=matrix_type)
        weight_files = [gguf_file(target_name, tensors, architecture=config.family.value, metadata=fields)]
    else:
        weight_files = safetensors_files(tensors)
        files_of = metadata.qwen_files if to is TargetFormat.QWEN else metadata.qwen2_files
        other_files |= files_of(config, companions, dtype=TORCH_TYPES[types["embedding.weight"]])
        other_files |= {file.name: checkpoint_bytes(file, limit=SMALL_FILE_LIMIT) for file in _licences(source.path)}
        if len(weight_files) > 1:
            other_files["model.safetensors.index.json"] = metadata.as_json(safetensors_index(weight_files))
    return Plan(
        source=source,
        config=config,
        companions=companions,
        parameters=parameters,
        weight_files=weight_files,
        other_files=other_files,
    )


def _licences(source: Path) -> list[Path]:
    """The files with the licence of the weights, which copies of them must carry."""
    return [file for pattern in LICENCES for file in source.glob(pattern) if file.is_file()]


def _type_of(
    parameter: str, stored: StoredTensor, *, to: TargetFormat, type: GGMLQuantizationType | None
) -> GGMLQuantizationType:
    own = FLOATS[dtype_of(stored)]
    if to is TargetFormat.GGUF and len(stored.shape) == 1:
        return GGMLQuantizationType.F32  # llama.cpp adds and multiplies vectors in float32 only
    if type is None or type in TORCH_TYPES:
        return own if type is None else type  # F32 is the number 0
    if parameter in ("embedding.weight", "head.weight"):
        type = GGMLQuantizationType.Q8_0  # they suffer most from fewer bits
    if stored.shape[1] % GGML_QUANT_SIZES[type][0]:
        raise UnsupportedError(
            f"{parameter} has rows of {stored.shape[1]}, which {type.name} cannot cut into blocks of "
            f"{GGML_QUANT_SIZES[type][0]}: convert with quantize f16"
        )
    return type
