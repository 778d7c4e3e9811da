"""Converts a checkpoint to another format, from the first check to the report."""

from __future__ import annotations

import hashlib
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gguf import GGMLQuantizationType

from qwen7b.adapters.adapted import with_adapter
from qwen7b.adapters.adapter_files import adapter_folder
from qwen7b.checkpoint.checkpoint import open_checkpoint
from qwen7b.checkpoint.packed_folder import WEIGHTS
from qwen7b.config.checked import flag
from qwen7b.convert.conversion import Conversion, WrittenFile
from qwen7b.convert.metadata import as_json, original_vocabulary
from qwen7b.convert.planning import Plan, make_plan, number_type
from qwen7b.convert.remarks import changes, losses, rounding
from qwen7b.convert.target_format import TargetFormat
from qwen7b.convert.verification import CHECK_TEXT, compare_logits, compare_tensors, same_tokens
from qwen7b.convert.workplace import Workplace
from qwen7b.errors import ResourceError, SettingError, quoted
from qwen7b.files.file_names import is_gguf
from qwen7b.files.gguf_parts import part_files
from qwen7b.hub.locate import locate
from qwen7b.packed.formats import find_format
from qwen7b.packing.kept_weights import packed_checkpoint
from qwen7b.packing.places import exact_identity
from qwen7b.packing.verdicts import check_once
from qwen7b.system.progress import progress
from qwen7b.system.workers import Workers, workers


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: TargetFormat | str,
    dtype: str | None = None,
    quantize: str | None = None,
    check_text: str = CHECK_TEXT,
    chat: bool | None = None,
    adapter: str | Path | None = None,
    packed_as: str | None = None,
    offline: bool | None = None,
) -> Conversion:
    """Write a checkpoint as first-generation Qwen or Qwen2 (folders), or as GGUF (a file), and check the result.

    `source` is anything that `qwen7b.load` takes, `to` is qwen, qwen2 or gguf. `dtype` is float32, bfloat16 or
    float16; `quantize`, for GGUF, q8_0, q5_1, q5_0, q4_1 or q4_0 (embedding and head stay at q8_0), bf16 or f16.
    Without either, every number stays as it is, and quantized ones become float32. The target appears when it is
    complete and checked; until then it is in TARGET.partial, where the same call continues after an interruption.
    Every number is compared with the source's, and so are the logits for `check_text`; all of it takes less than 2 GB
    of memory, whatever the model's size. `chat` says whether the model was trained to chat, if its files do not say so
    or are wrong; the target then says it. `adapter` is the folder of a LoRA adapter that is added to the weights, and
    `packed_as` the format that these are packed in before, as they were when the adapter was trained.

    Raises SettingError for a target that exists and for settings that make no sense, ResourceError for a full disk,
    and what `open_checkpoint` raises.

    >>> convert("Qwen-7B-Chat", "Qwen-7B-Chat-q8_0.gguf", to="gguf", quantize="q8_0").lost  # doctest: +SKIP
    """
    target = Path(target).expanduser()
    to = check_target(target, to=to)
    if not check_text:
        raise SettingError("the check text is empty: give some text to compare the models on")
    if chat is not None:
        flag("chat", chat)
    type = number_type(to=to, dtype=dtype, quantize=quantize)
    path = locate(source, offline=offline)
    if path.resolve() in target.resolve().parents:
        raise SettingError(f"{target} lies in the source {path}: choose a target outside of it")
    model_name = Path(source).resolve().name
    checkpoint = open_checkpoint(path)
    if checkpoint.packed is not None:
        check_once(path / WEIGHTS)
    if packed_as is not None:
        checkpoint = packed_checkpoint(checkpoint, find_format(packed_as))
    if adapter is not None:
        checkpoint = with_adapter(checkpoint, adapter)
    plan = make_plan(checkpoint, model_name=model_name, target_name=target.name, to=to, type=type, chat=chat)
    workplace = Workplace(target)
    workplace.check_space(plan.weight_files)
    job = _job(plan, to=to, type=type) | {"chat": chat, "packed_as": packed_as}
    if adapter is not None:
        job["adapter"] = exact_identity(adapter_folder(adapter))
    with workplace.held(job), workers(caller_waits=True) as threads:
        started = time.monotonic()
        files = write_files(plan, workplace, threads)
        written = time.monotonic()
        conversion = Conversion(
            source=path,
            source_config=plan.source.config,
            target=target,
            format=to,
            target_config=plan.config,
            **_check(plan, workplace, threads, to=to, text=check_text),
            writing_seconds=round(written - started, 1),
            checking_seconds=round(time.monotonic() - written, 1),
            versions=_versions(),
            files=files,
        )
        is_file = to is TargetFormat.GGUF
        report_name = target.with_suffix(".conversion.json").name if is_file else "conversion.json"
        (workplace.files / report_name).write_bytes(as_json(conversion.as_document()))
        workplace.finish(*([report_name, target.name] if is_file else []))
    return conversion


def check_target(target: Path, *, to: object) -> TargetFormat:
    """The format by its name. Raises SettingError where such a target cannot be written there."""
    try:
        format = TargetFormat(to)  # type: ignore[arg-type]
    except ValueError:
        raise SettingError(f"to must be one of {', '.join(TargetFormat)}, found {quoted(to)}") from None
    is_file = format is TargetFormat.GGUF
    if is_gguf(target.name) != is_file:
        expected = "a file that ends in .gguf" if is_file else "a folder"
        raise SettingError(f"the target of a conversion to {format} is {expected}, found {target}")
    if target.exists() or target.is_symlink():
        raise SettingError(f"{target} exists already: choose another target, or remove it first")
    return format


def _job(plan: Plan, *, to: TargetFormat, type: GGMLQuantizationType | None) -> dict[str, Any]:
    """Everything that must be the same when an interrupted conversion is continued."""
    path = plan.source.path
    files = sorted(path.iterdir()) if path.is_dir() else part_files(path)
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    headers = hashlib.sha256(b"".join(file.header for file in plan.weight_files)).hexdigest()
    return {
        "source": str(path.resolve()),
        "source_files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
        "to": to.value,
        "type": None if type is None else type.name,
        "headers": headers,
        "versions": _versions(),
    }


def write_files(plan: Plan, workplace: Workplace, threads: Workers) -> dict[str, WrittenFile]:
    """Write the target's files; returns them by name."""
    files = {}
    with progress(f"Writing {workplace.target}", plan.num_bytes, "B") as report:
        for file in plan.weight_files:
            files[file.name] = WrittenFile(bytes=file.num_bytes, sha256=workplace.write(file, threads, report=report))
    for name, content in plan.other_files.items():
        (workplace.files / name).write_bytes(content)
        files[name] = WrittenFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return files


def _check(plan: Plan, workplace: Workplace, threads: Workers, *, to: TargetFormat, text: str) -> dict[str, Any]:
    """Read the target back and compare it; returns the fields of a Conversion that say how it differs."""
    path = workplace.files / workplace.target.name if to is TargetFormat.GGUF else workplace.files
    written = open_checkpoint(path)
    tokenizer = plan.companions.tokenizer
    if not same_tokens(tokenizer, path, text=text):
        raise ResourceError(
            f"{path} reads back with another vocabulary than was written: the disk or memory is faulty, convert again"
        )
    num_weights = sum(tensor.num_weights for tensor in plan.tensors)
    with progress("Checking every number against the source", num_weights, " numbers") as report:
        types = compare_tensors(plan.tensors, plan.parameters, written, threads, report=report)
    is_original = to is TargetFormat.QWEN and original_vocabulary(plan.config, plan.companions) is not None
    source = plan.source.config
    return {
        "num_tensors": len(plan.tensors),
        "types": types,
        "logits": compare_logits(plan.source, written, tokenizer, threads, text=text),
        "changed": changes(source, plan.config),
        "lost": rounding(types)
        + losses(source, plan.config, plan.companions, to=to, is_original_vocabulary=is_original),
    }


def _versions() -> dict[str, str]:
    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:  # qwen7b run from its sources
            return "not installed"

    return {package: installed(package) for package in ("qwen7b", "torch", "gguf")} | {
        "python": platform.python_version()
    }
