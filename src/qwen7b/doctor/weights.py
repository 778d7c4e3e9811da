"""The checks that folders and GGUF files share: whether tensors fill a model, and whether the tokenizer fits it."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from pathlib import Path

from qwen7b.checkpoint.chat_verdict import decide_chat
from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.checks import check_vocabulary, check_weights
from qwen7b.config import Family
from qwen7b.doctor.findings import Diagnosis
from qwen7b.doctor.untrained_rows import untrained_controls
from qwen7b.errors import CheckpointError
from qwen7b.files.checksums import check_tensors
from qwen7b.files.file_names import is_gguf
from qwen7b.files.gguf_file import GGUFTensor
from qwen7b.files.gptq import GPTQTensor
from qwen7b.files.pickled_file import StridedTensor
from qwen7b.files.stored import RawTensor, StoredTensor
from qwen7b.generate import Qwen
from qwen7b.hub.fetch import model_path
from qwen7b.hub.known import KNOWN_MODELS
from qwen7b.model.empty_model import empty_model
from qwen7b.packing.cached import CURRENT, list_packed
from qwen7b.system.storage import sha256_of
from qwen7b.text import Tokenizer, load_tokenizer

_MODELS = {
    Family.QWEN: "first-generation Qwen",
    Family.QWEN2: "Qwen1.5, Qwen2 or Qwen2.5 (dense)",
    Family.LLAMA: "Llama-shaped",
}


def diagnose_gguf(path: Path, diagnosis: Diagnosis) -> None:
    checkpoint = diagnosis.attempt(lambda: open_checkpoint(path))
    if checkpoint or is_gguf(path.name):
        diagnosis.kind = "GGUF file"
    if checkpoint is None:
        return
    diagnosis.attempt(lambda: check_weights(checkpoint, report=diagnosis.error))
    note_model(checkpoint, diagnosis)
    kinds = {stored.info.type: stored for _, stored in checkpoint.tensors.values() if isinstance(stored, GGUFTensor)}
    for stored in kinds.values():
        diagnosis.attempt(lambda stored=stored: stored.read_rows(0, 1))  # type: ignore[misc]
    look_at_tokenizer(checkpoint, diagnosis.attempt(lambda: load_tokenizer(checkpoint.path)), diagnosis)
    look_at_kept_weights(checkpoint.path, diagnosis)
    diagnosis.attempt(lambda: _check_known(checkpoint.path))
    check_usable(path, diagnosis)


def _check_known(path: Path) -> None:
    """Raise CheckpointError where a fetched model that has a name is no longer the file that was published."""
    for model in KNOWN_MODELS.values():
        if path.resolve() == model_path(model).resolve() and sha256_of(path) != model.sha256:
            raise CheckpointError(
                f"{path} is damaged: by its sha256 it is not {model.name} as published, so delete it with 'qwen7b "
                f"models rm {model.name}' and fetch it again with 'qwen7b pull {model.name}'"
            )


def look_at_kept_weights(source: Path, diagnosis: Diagnosis) -> None:
    """A start reads the packed copy in the cache, if there is one, and not what that was made from."""
    for copy in list_packed():
        if copy.source == source.resolve() and copy.state == CURRENT:
            remedy = f"'qwen7b models rm {shlex.quote(copy.name)}' deletes it, and the next start packs it again"
            diagnosis.attempt(lambda copy=copy, remedy=remedy: check_tensors(copy.path, remedy=remedy))  # type: ignore[misc]


def look_at_tokenizer(checkpoint: Checkpoint, tokenizer: Tokenizer | None, diagnosis: Diagnosis) -> None:
    if tokenizer is not None:
        diagnosis.facts["tokens"] = tokenizer.vocab_size
        diagnosis.attempt(lambda: check_vocabulary(tokenizer, checkpoint.config, source=checkpoint.path))
        _look_at_control_rows(checkpoint, tokenizer, diagnosis)
    for problem in checkpoint.generation.problems.values():
        diagnosis.error(f"{problem}: until that is fixed, pass the setting with every call")
    for remark in checkpoint.generation.remarks:
        diagnosis.warn(remark)


def _look_at_control_rows(checkpoint: Checkpoint, tokenizer: Tokenizer, diagnosis: Diagnosis) -> None:
    if tokenizer.vocab_size > checkpoint.config.vocab_rows:
        return  # which has been reported
    names = diagnosis.attempt(lambda: untrained_controls(checkpoint, tokenizer))
    if not names:
        return
    diagnosis.facts["untrained"] = names
    if decide_chat(checkpoint.generation, tokenizer, checkpoint.config).is_chat:
        diagnosis.warn(
            f"the rows of {', '.join(names)} look untrained, so replies will not end: it is a base model whose files "
            "say that it chats, or the fine-tuning left these rows out; 'qwen7b train sft --lora' trains them"
        )


def note_model(checkpoint: Checkpoint, diagnosis: Diagnosis) -> None:
    config, tensors = checkpoint.config, [stored for _, stored in checkpoint.tensors.values()]
    sizes: Counter[str] = Counter()
    for stored in tensors:
        precision = checkpoint.packed.format.name if checkpoint.packed else _precision(stored)
        sizes[precision] += math.prod(stored.shape)
    num_weights = sum(sizes.values())
    diagnosis.facts |= {
        "family": config.family.value,
        "model": _MODELS[config.family],
        "parameters": num_weights,
        "precision": [name for name, size in sizes.most_common() if size * 100 >= num_weights],
        "layers": config.num_layers,
        "rows": config.vocab_rows,
        "trained_length": config.trained_length,
        "context_length": config.context_length,
    }


def _precision(stored: StoredTensor) -> str:
    match stored:
        case RawTensor() | StridedTensor():
            return str(stored.dtype).removeprefix("torch.")
        case GGUFTensor():
            return stored.info.type.name
        case GPTQTensor():
            return f"GPTQ Int{stored.quantization.bits}"
    raise AssertionError(f"{type(stored).__name__} has no precision")


def check_usable(path: Path, diagnosis: Diagnosis) -> Qwen | None:
    """If all is healthy so far, check that the model would load and answer, and note how to use it."""
    if not diagnosis.is_healthy:
        return None
    qwen = diagnosis.attempt(lambda: dry_run(path))
    if qwen is None:
        return None
    diagnosis.facts |= {"tokens": qwen.tokenizer.vocab_size, "chat": qwen.is_chat}
    verb = "chat" if qwen.is_chat else "complete"
    diagnosis.usage = [f"qwen7b {verb} --model {shlex.quote(str(path))}", f"qwen7b.load({str(path)!r})"]
    return qwen


def dry_run(path: Path) -> Qwen:
    """Load the model at a path without its weights, and prepare a reply without computing it.

    Raises what `qwen7b.load`, and then `chat` or `complete`, would raise.
    """
    checkpoint = open_checkpoint(path)
    tokenizer = load_tokenizer(checkpoint.path)
    check_vocabulary(tokenizer, checkpoint.config, source=checkpoint.path)
    check_weights(checkpoint)
    qwen = Qwen(empty_model(checkpoint.config), tokenizer, generation=checkpoint.generation, name=str(path))
    # Making the generator checks the settings and the prompt; the reply would be computed only by iterating.
    (qwen.stream("你好") if qwen.is_chat else qwen.stream_completion("1, 2, 3")).close()
    return qwen
