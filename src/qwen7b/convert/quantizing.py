"""Quantizes a checkpoint: writes a folder with its packed weights."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from qwen7b.adapters.adapted import with_adapter
from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.checks import check_complete, check_shapes, check_vocabulary
from qwen7b.checkpoint.packed_file import layout_bytes, writing_packed
from qwen7b.checkpoint.packed_folder import WEIGHTS, packed_config
from qwen7b.config import Family
from qwen7b.config.checked import flag
from qwen7b.convert.companions import read_companions
from qwen7b.convert.metadata import as_json, qwen2_files, qwen_files
from qwen7b.convert.workplace import Workplace
from qwen7b.errors import SettingError
from qwen7b.files.file_names import LICENCES, is_gguf
from qwen7b.hub.locate import locate
from qwen7b.packed.formats import Format, find_format
from qwen7b.packed.layout import packed_layout
from qwen7b.packing.automatic import with_progress
from qwen7b.packing.calibration import default_text, pack_calibrated, token_sequences
from qwen7b.packing.kept_weights import packed_checkpoint
from qwen7b.packing.packing import pack_checkpoint
from qwen7b.system.json_file import MAX_BYTES, read_json_if_any
from qwen7b.system.regular_file import checkpoint_bytes
from qwen7b.system.storage import check_disk_space
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.reading import tokenizer_copies

GENERATION = "generation_config.json"
_COPIED = (GENERATION, *LICENCES)
"""The files that are copied beside the tokenizer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedFolder:
    """A folder with packed weights, and how it was made. Its fields are what `qwen7b quantize --json` prints."""

    source: str
    target: str
    format: str
    calibrated: bool
    """Whether the codes were chosen by running a text through the model."""
    gptq: bool
    bytes: int
    """The size of all its files."""
    seconds: float


def quantize(
    source: str | Path,
    target: str | Path,
    *,
    format: str,
    calibration_text: str | None = None,
    gptq: bool = False,
    chat: bool | None = None,
    adapter: str | Path | None = None,
    packed_as: str | None = None,
    offline: bool | None = None,
) -> PackedFolder:
    """Pack a checkpoint's weights into a folder that loads by memory mapping, and describe the result.

    `source` is anything that `qwen7b.load` takes, `format` is q8, q4 or nf4. The 4-bit codes of q4 are chosen for the
    activations of `calibration_text` (None for the text that qwen7b brings; "" for no text); with `gptq` rounding
    errors compensate for each other. `chat` says whether the model was trained to chat, if its files do not say so or
    are wrong; the target then says it. `adapter` and `packed_as` are as for `convert`: weights with an adapter added
    may be packed again. The target appears when it is complete. Besides the page cache this takes
    memory for the largest layer in float32, and with `gptq` a few times the square of its width.

    Raises SettingError for a target that exists and for settings that make no sense, ResourceError for a full disk,
    and what `open_checkpoint` raises.

    >>> quantize("Qwen-7B-Chat", "Qwen-7B-Chat-q4", format="q4").bytes  # doctest: +SKIP
    """
    if chat is not None:
        flag("chat", chat)
    target = Path(target).expanduser()
    weight_format = find_format(format)
    if target.exists() or target.is_symlink():
        raise SettingError(f"{target} exists already: choose another target, or remove it first")
    if not weight_format.searches_scales and (gptq or calibration_text):
        raise SettingError(f"{format} rounds each weight by itself: only q4 takes a calibration text or gptq")
    if gptq and calibration_text == "":
        raise SettingError(
            "gptq needs a calibration text: give one, or leave it out to use the text that qwen7b brings"
        )
    checkpoint = _open(source, target, is_added_to=adapter is not None, offline=offline)
    if packed_as is not None:
        checkpoint = packed_checkpoint(checkpoint, find_format(packed_as))
    if adapter is not None:
        checkpoint = with_adapter(checkpoint, adapter)
    tokenizer = load_tokenizer(checkpoint.path)
    check_vocabulary(tokenizer, checkpoint.config, source=checkpoint.path)
    text = default_text() if calibration_text is None else calibration_text
    if not weight_format.searches_scales:
        text = ""
    started = time.monotonic()
    num_bytes = layout_bytes(packed_layout(checkpoint.config, weight_format))
    workplace = Workplace(target, resumes=False)
    with workplace.held({"quantize": str(checkpoint.path), "format": format}):
        check_disk_space(target.absolute(), num_bytes)
        _write_weights(workplace.files / WEIGHTS, checkpoint, weight_format, tokenizer, text=text, gptq=gptq)
        for name, content in _companions(checkpoint, name=Path(source).resolve().name, chat=chat).items():
            (workplace.files / name).write_bytes(content)
        fields = packed_config(checkpoint.config, weight_format)
        if endings := checkpoint.generation.other_endings:
            fields["eos_token_id"] = list(endings)
        (workplace.files / "config.json").write_bytes(as_json(fields))
        workplace.finish()
    return PackedFolder(
        source=str(checkpoint.path),
        target=str(target),
        format=format,
        calibrated=bool(text),
        gptq=gptq,
        bytes=sum(path.stat().st_size for path in target.iterdir()),
        seconds=round(time.monotonic() - started, 1),
    )


def _open(source: str | Path, target: Path, *, is_added_to: bool, offline: bool | None) -> Checkpoint:
    path = locate(source, offline=offline)
    if path.resolve() in target.resolve().parents:
        raise SettingError(f"{target} lies in the source {path}: choose a target outside of it")
    checkpoint = open_checkpoint(path)
    if checkpoint.packed is not None and not is_added_to:
        raise SettingError(
            f"{path} is packed as {checkpoint.packed.format.name} already: quantize the original checkpoint"
        )
    check_shapes(checkpoint)
    check_complete(checkpoint)
    return checkpoint


def _write_weights(
    path: Path, checkpoint: Checkpoint, format: Format, tokenizer: Tokenizer, *, text: str, gptq: bool
) -> None:
    with (
        writing_packed(path, config=checkpoint.config, format=format, source=str(checkpoint.path)) as write_file,
        with_progress(write_file, checkpoint, format) as write,
    ):
        if text:
            ids = token_sequences(tokenizer, text, trained_length=checkpoint.config.trained_length)
            pack_calibrated(checkpoint, format, ids, write, compensate=gptq)
        else:
            pack_checkpoint(checkpoint, format, write)


def _companions(checkpoint: Checkpoint, *, name: str, chat: bool | None) -> dict[str, bytes]:
    """The files of the tokenizer and the generation settings: a folder's own, or written from a GGUF's metadata."""
    paths = tokenizer_copies(checkpoint.path)
    if not any(map(is_gguf, paths)):
        paths |= {file.name: file for pattern in _COPIED for file in checkpoint.path.glob(pattern) if file.is_file()}
        files = {name: checkpoint_bytes(file, limit=MAX_BYTES) for name, file in paths.items()}
        if chat is not None:
            own = read_json_if_any(checkpoint.path / GENERATION)
            files[GENERATION] = as_json({**own, "chat_format": "chatml" if chat else "raw"})
        return files
    import torch

    files_of = qwen_files if checkpoint.config.family is Family.QWEN else qwen2_files
    files = files_of(checkpoint.config, read_companions(checkpoint, name=name, chat=chat), dtype=torch.float32)
    del files["config.json"]
    return files
