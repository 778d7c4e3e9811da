"""Diagnoses a checkpoint folder: its settings, shards, tensors, tokenizer and other files."""

from __future__ import annotations

import re
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint, placed, with_own_head
from qwen7b.checkpoint.checks import check_vocabulary, check_weights
from qwen7b.checkpoint.generation_settings import GenerationSettings, folder_generation
from qwen7b.checkpoint.packed_folder import WEIGHTS, is_packed
from qwen7b.checkpoint.tensor_names import folder_names
from qwen7b.checkpoint.upstream_config import config_of
from qwen7b.config import Family, ModelConfig
from qwen7b.doctor import repairs
from qwen7b.doctor.config_repair import rewritten_config
from qwen7b.doctor.findings import Diagnosis, Repair
from qwen7b.doctor.weights import check_usable, look_at_kept_weights, look_at_tokenizer, note_model
from qwen7b.errors import Qwen7bError
from qwen7b.files.checksums import check_tensors
from qwen7b.files.gptq import GPTQ, dequantized, folder_quantization
from qwen7b.files.stored import StoredTensor
from qwen7b.files.weight_files import open_weights
from qwen7b.generate import Qwen
from qwen7b.system.json_file import read_json
from qwen7b.system.regular_file import SMALL_FILE_LIMIT, checkpoint_bytes
from qwen7b.text import Tokenizer, load_tokenizer

_LEFTOVERS = (".part", ".partial", ".incomplete", ".aria2", ".crdownload", ".downloading")
_QWEN_ROWS = (151851, 151936, 152064)
_FIRST_RELEASE, _SINCE_2023_09 = "of the first release", "since 2023-09"
_FIRST_SIZE = "n_embd"
"""A name that only the first release's config.json and configuration_qwen.py contain."""


def diagnose_folder(path: Path, diagnosis: Diagnosis, *, tokenizer: Path | None) -> None:
    diagnosis.kind = "checkpoint folder"
    fields = diagnosis.attempt(lambda: read_json(path / "config.json"))
    if fields and is_packed(fields):
        _diagnose_packed(path, diagnosis, tokenizer=tokenizer)
        return
    generation = diagnosis.attempt(lambda: folder_generation(path, fields or {})) or GenerationSettings()
    quantization = diagnosis.attempt(lambda: folder_quantization(path, fields)) if fields else None
    tensors, is_whole = _open_tensors(path, quantization, diagnosis)
    checkpoint = _match_or_repair(path, fields, tensors, generation, diagnosis, is_whole=is_whole) if fields else None
    if quantization:
        _note_quantization(path, quantization, diagnosis)
    loaded_tokenizer = _open_tokenizer(
        path, checkpoint.config if checkpoint else None, diagnosis, replacement=tokenizer
    )
    if checkpoint:
        note_model(checkpoint, diagnosis)
        look_at_tokenizer(checkpoint, loaded_tokenizer, diagnosis)
        _look_for_dropped_biases(checkpoint, loaded_tokenizer, diagnosis)
        look_at_kept_weights(path, diagnosis)
    if qwen := check_usable(path, diagnosis):
        _look_at_stop_ids(path, qwen, diagnosis)
    if fields:
        _note_generation(path, fields, diagnosis)
    _look_at_other_files(path, diagnosis)


def _diagnose_packed(path: Path, diagnosis: Diagnosis, *, tokenizer: Path | None) -> None:
    diagnosis.kind = "folder of packed weights"
    checkpoint = diagnosis.attempt(lambda: open_checkpoint(path))
    loaded_tokenizer = _open_tokenizer(
        path, checkpoint.config if checkpoint else None, diagnosis, replacement=tokenizer
    )
    if checkpoint:
        note_model(checkpoint, diagnosis)
        look_at_tokenizer(checkpoint, loaded_tokenizer, diagnosis)
        has_checksums = diagnosis.attempt(lambda: check_tensors(path / WEIGHTS))
        if has_checksums is not None:
            diagnosis.facts["checksums"] = has_checksums
    check_usable(path, diagnosis)


def _open_tensors(path: Path, quantization: GPTQ | None, diagnosis: Diagnosis) -> tuple[dict[str, StoredTensor], bool]:
    """The tensors that can be read, and whether these are all."""
    problems: list[Qwen7bError] = []
    tensors = diagnosis.attempt(lambda: open_weights(path, report=problems.append), repair=repairs.index_repair(path))
    for problem in problems:
        diagnosis.error(problem)
    unpacked = diagnosis.attempt(lambda: dequantized(tensors or {}, quantization))
    return unpacked or {}, bool(unpacked) and not problems


def _match_or_repair(
    path: Path,
    fields: dict[str, Any],
    tensors: dict[str, StoredTensor],
    generation: GenerationSettings,
    diagnosis: Diagnosis,
    *,
    is_whole: bool,
) -> Checkpoint | None:
    """Match the tensors with the model that the config describes; if they do not fit, try a repaired config."""
    with diagnosis.noting_warnings():
        checkpoint, problems = _match_tensors(path, fields, tensors, generation, is_whole=is_whole)
    repair: Repair | None = None
    repaired_config = rewritten_config(fields, tensors) if problems and is_whole else None
    if repaired_config and not _match_tensors(path, repaired_config, tensors, generation, is_whole=True)[1]:
        repair = partial(repairs.write_config, repaired_config)
    for problem in problems:
        diagnosis.error(problem, repair=repair)
    return checkpoint


def _match_tensors(
    path: Path,
    fields: dict[str, Any],
    tensors: dict[str, StoredTensor],
    generation: GenerationSettings,
    *,
    is_whole: bool,
) -> tuple[Checkpoint | None, list[Qwen7bError]]:
    problems: list[Qwen7bError] = []
    try:
        config = with_own_head(config_of(fields, source=str(path / "config.json")), tensors, source=path)
    except Qwen7bError as error:
        return None, [error]
    names = folder_names(config)
    places = placed(tensors, names=names, config=config, source=path, report=problems.append)
    checkpoint = Checkpoint(path=path, config=config, generation=generation, tensors=places)
    if places:  # else no tensor has its place, which has been reported
        try:
            check_weights(checkpoint, may_lack=not is_whole, report=problems.append)
        except Qwen7bError as error:  # a file that cannot be read
            problems.append(error)
    return checkpoint, problems


def _note_quantization(path: Path, quantization: GPTQ, diagnosis: Diagnosis) -> None:
    diagnosis.facts["quantization"] = {
        "method": "gptq",
        "bits": quantization.bits,
        "group_size": quantization.group_size or -1,
    }
    diagnosis.warn(
        f"{path} is quantized by GPTQ, for which other programs need auto-gptq, which is no longer maintained: "
        "qwen7b unpacks it while loading, and needs neither auto-gptq nor a GPU"
    )


def _open_tokenizer(
    path: Path, config: ModelConfig | None, diagnosis: Diagnosis, *, replacement: Path | None
) -> Tokenizer | None:
    """The folder's tokenizer; if it cannot be loaded, copying a given `replacement` becomes the repair."""
    try:
        with diagnosis.noting_warnings():
            return load_tokenizer(path)
    except Qwen7bError as error:
        if replacement is None:
            command = f"qwen7b doctor {shlex.quote(str(path))} --fix NEW_FOLDER --tokenizer BASE"
            diagnosis.error(f"{error}; '{command}' takes it from the base model, as merging a LoRA leaves it out")
        elif diagnosis.attempt(lambda: _load_replacement(replacement, config)):
            diagnosis.error(error, repair=partial(repairs.copy_tokenizer, replacement))
    return None


def _load_replacement(path: Path, config: ModelConfig | None) -> Tokenizer:
    tokenizer = load_tokenizer(path)
    if config:
        check_vocabulary(tokenizer, config, source=path)
    return tokenizer


def _look_for_dropped_biases(checkpoint: Checkpoint, tokenizer: Tokenizer | None, diagnosis: Diagnosis) -> None:
    """Warn of a Llama with Qwen's vocabulary: it loads and runs, but most likely its biases were lost."""
    has_qwen_vocabulary = checkpoint.config.vocab_rows in _QWEN_ROWS or (
        tokenizer is not None and tokenizer.im_start_id == 151644
    )
    if checkpoint.config.family is Family.LLAMA and has_qwen_vocabulary:
        diagnosis.warn(
            f"{checkpoint.path} is a Llama with Qwen's vocabulary, and a Llama has no biases: if it was converted from "
            "a Qwen, those of query, key and value were dropped and cannot be restored, so convert the original again"
        )


def _look_at_stop_ids(path: Path, qwen: Qwen, diagnosis: Diagnosis) -> None:
    stop_ids = qwen.generation.stop_ids
    if qwen.is_chat and qwen.tokenizer.is_chatml and stop_ids and qwen.tokenizer.im_end_id not in stop_ids:
        complete_ids = sorted(qwen.stop_ids)
        diagnosis.warn(
            f"{path / 'generation_config.json'} of a chat model ends replies only at "
            f"{', '.join(map(str, sorted(stop_ids)))}: qwen7b stops at {', '.join(map(str, complete_ids))}, other "
            "programs go on, so complete eos_token_id",
            repair=partial(repairs.write_stop_ids, complete_ids),
        )


def _note_generation(path: Path, fields: dict[str, Any], diagnosis: Diagnosis) -> None:
    """Note which of Qwen's two releases the config is from, and warn if the Python file beside it is from the other."""
    if fields.get("model_type") != "qwen":
        return
    release = _FIRST_RELEASE if _FIRST_SIZE in fields else _SINCE_2023_09
    diagnosis.facts["generation"] = release
    code = path / "configuration_qwen.py"
    if not code.exists():
        return
    if text := diagnosis.attempt(lambda: checkpoint_bytes(code, limit=SMALL_FILE_LIMIT).decode(errors="replace")):
        code_release = _FIRST_RELEASE if re.search(rf"\b{_FIRST_SIZE}\b", text) else _SINCE_2023_09
        if code_release != release:
            diagnosis.warn(
                f"config.json is {release} but {code} {code_release}: qwen7b reads either config, but the old remote "
                "code fails on the other's, so take both from one revision or drop the code"
            )


def _look_at_other_files(path: Path, diagnosis: Diagnosis) -> None:
    code = repairs.remote_code(path)
    if code:
        diagnosis.warn(
            f"{path} contains code that qwen7b never runs ({', '.join(code)}): nothing is lost, as qwen7b has its own",
            repair=repairs.drop_remote_code,
        )
    leftovers = sorted(file.name for file in path.iterdir() if file.name.endswith(_LEFTOVERS))
    if leftovers:
        diagnosis.warn(f"{path} holds unfinished downloads ({', '.join(leftovers)}): finish or delete them")
