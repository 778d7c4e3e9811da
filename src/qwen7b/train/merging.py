"""A run's result as a checkpoint of its own: the adapter added to its base, or the trained weights, in any format."""

from __future__ import annotations

from pathlib import Path

from qwen7b.adapters.adapter_files import base_of, is_adapter
from qwen7b.checkpoint import open_checkpoint
from qwen7b.checkpoint.tensor_names import Place
from qwen7b.config import Family
from qwen7b.convert import Conversion, TargetFormat, convert
from qwen7b.errors import SettingError
from qwen7b.files.file_names import is_gguf
from qwen7b.files.stored import DTYPES
from qwen7b.files.views import dtype_of
from qwen7b.hub.locate import locate
from qwen7b.system.regular_file import existing_path
from qwen7b.text import load_tokenizer
from qwen7b.train.checkpoints import RunFolder


def merge(
    run: str | Path,
    target: str | Path,
    *,
    base: str | Path | None = None,
    to: TargetFormat | str | None = None,
    dtype: str | None = None,
    quantize: str | None = None,
    offline: bool | None = None,
) -> Conversion:
    """Write what a run has trained as a checkpoint, with its tokenizer and settings, and check it.

    `run` is a run's folder, of which the last saved step is taken, or an adapter's or checkpoint's own. `base` is the
    model of an adapter, by default the one that it names. `to` and `quantize` are as for `convert`; by default the
    target is a folder in the base's own layout, or GGUF where its name says so. Numbers keep the base's type (float32
    where it is quantized) unless `dtype` says another. A base model that was trained on a chat format is said to chat.

    Raises what `convert` raises, and SettingError where a run has no saved step.
    """
    trained = _last_step(existing_path(run))
    adapter = trained if is_adapter(trained) else None
    source = trained if adapter is None else base if base is not None else base_of(trained)
    if adapter is None and base is not None:
        raise SettingError(f"{trained} holds whole weights, which have no base, found base {base}: leave it out")
    if source is None:
        raise SettingError(f"{trained} does not say which model it is for: give the base")
    checkpoint = open_checkpoint(locate(source, offline=offline))
    if to is None:
        own = TargetFormat.QWEN if checkpoint.config.family is Family.QWEN else TargetFormat.QWEN2
        to = TargetFormat.GGUF if is_gguf(Path(target).name) else own
    if dtype is None and quantize is None:
        embedding = next(
            stored for place, stored in checkpoint.tensors.values() if place == Place(parameter="embedding.weight")
        )
        dtype = {type: name for name, type in DTYPES.items()}[dtype_of(embedding)]
    chats = True if load_tokenizer(checkpoint.path).chat_format is not None else None
    return convert(source, target, to=to, dtype=dtype, quantize=quantize, chat=chats, adapter=adapter, offline=offline)


def _last_step(path: Path) -> Path:
    """The folder of a run's last saved step; another folder is taken as it is."""
    run = RunFolder(path)
    if not run.recipe_path.exists():
        return path
    if not (steps := run.saved_steps()):
        raise SettingError(f"{path} has no saved step yet: train further, or give another run")
    return steps[-1]
